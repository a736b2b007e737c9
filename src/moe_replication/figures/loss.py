"""Paper A: loss curves, final losses, and loss against the routing pool."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from matplotlib.axes import Axes

from moe_replication.figures import style
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import THRESHOLD, complete_band, of_paper
from moe_replication.statistics.intervals import mean_interval

CURVES = ("condition", "seed", "tokens", "train_loss", "val_loss")
RUNS = ("condition", "seed", "title", "rule", "pool_tokens", "val_loss", "train_loss")
CURVE_OUT = ("condition", "title", "rule", "series", "tokens", "n", "mean", "ci_low", "ci_high")
FINAL_OUT = ("panel", "condition", "title", "seed", "pool_tokens", "val_loss", "train_loss", "source")
SERIES = {"validation": "val_loss", "difference": "difference", "training": "train_loss"}
PANELS = {
    "validation": ("validation", "validation loss (nats / token)"),
    "difference": ("validation, minus dense", "difference, paired by seed"),
    "training": ("training, smoothed", "training loss (nats / token)"),
}
POOL_SERIES = {
    "train_loss": style.Look(colour=style.SKY, marker="v", line="--"),
    "val_loss": style.CONDITION_LOOKS["ec-batch"],
}


def curve_data(runs: pl.DataFrame, curves: pl.DataFrame) -> pl.DataFrame:
    """Mean loss with 95 % t interval over seeds per condition and token count; training loss smoothed.

    Series `difference` is the validation loss minus the dense model's of the same seed.
    """
    rows = of_paper(curves, THRESHOLD, CURVES).sort("condition", "seed", "tokens")
    if rows.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(CURVE_OUT, pl.String))
    span = max(1.0, rows.group_by("condition", "seed", maintain_order=True).len()["len"].median() / 20)
    smooth = pl.col("train_loss").ewm_mean(span=span, ignore_nulls=True).over("condition", "seed")
    rows = rows.with_columns(train_loss=pl.when(pl.col("train_loss").is_not_null()).then(smooth))
    rows = _with_difference(rows)
    bands = [
        complete_band(rows, ["condition"], "tokens", column).with_columns(series=pl.lit(name))
        for name, column in SERIES.items()
    ]
    names = of_paper(runs, THRESHOLD, RUNS).select("condition", "title", "rule").unique("condition", keep="first")
    return pl.concat(bands).join(names, on="condition", how="left", maintain_order="left").select(CURVE_OUT)


def _with_difference(rows: pl.DataFrame) -> pl.DataFrame:
    dense = rows.filter(pl.col("condition") == "dense").select("seed", "tokens", dense="val_loss")
    paired = rows.join(dense, on=["seed", "tokens"], how="left", maintain_order="left")
    compared = (pl.col("condition") != "dense") & ~pl.col("condition").str.starts_with("d20-")
    return paired.with_columns(difference=pl.when(compared).then(pl.col("val_loss") - pl.col("dense")))


def curve_panel(ax: Axes, bands: pl.DataFrame, order: list[str]) -> None:
    """One line with band per condition; long runs show the last two thirds, with all of it in an inset."""
    _curve_lines(ax, bands, order)
    last = bands["tokens"].max()
    late = bands.filter(pl.col("tokens") >= last / 3)
    if late["tokens"].n_unique() > 3:
        low, high = late["mean"].min(), late["mean"].max()
        ax.set_ylim(low - 0.08 * (high - low), high + 0.03 * (high - low))
        ax.set_xlim(last / 3, last * 1.02)
        inset = ax.inset_axes([0.62, 0.58, 0.36, 0.4])
        _curve_lines(inset, bands, order)
        inset.set_title("all of training", fontsize=6.5, pad=2)
        inset.tick_params(labelsize=6)
        inset.xaxis.set_major_formatter(style.short_numbers)
    ax.set_xlabel("training tokens")
    ax.xaxis.set_major_formatter(style.short_numbers)


def _curve_lines(ax: Axes, bands: pl.DataFrame, order: list[str]) -> None:
    for condition in order:
        rows = bands.filter(pl.col("condition") == condition)
        if rows.is_empty():
            continue
        look = style.condition_look(condition, rows["rule"][0])
        label = style.condition_label(rows["title"][0] or condition, rows["n"].to_list())
        dots = {"marker": look.marker if rows.height <= 15 else None, "markersize": 3}
        ax.plot(rows["tokens"], rows["mean"], look.line, color=look.colour, label=label, **dots)
        band = rows.drop_nulls(["ci_low", "ci_high"])
        ax.fill_between(band["tokens"], band["ci_low"], band["ci_high"], color=look.colour, alpha=0.15, linewidth=0)


def draw_curves(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-fig01-loss-curves: validation loss, its difference to dense, and smoothed training loss against tokens."""
    with style.styled():
        data = curve_data(tables["runs"], tables["curves"])
        if data.is_empty():
            return style.save_empty(f"no runs of paper A at scale {info.scale}", CURVE_OUT, out_base)
        order = style.condition_order(data)
        shown = [name for name in SERIES if not data.filter(pl.col("series") == name)["mean"].is_null().all()]
        figure, axes = style.panels(width=style.DOUBLE, height=3.0, columns=len(shown))
        for ax, letter, name in zip(axes[0], "abc", shown, strict=False):
            curve_panel(ax, data.filter(pl.col("series") == name), order)
            title, label = PANELS[name]
            ax.set_ylabel(label)
            style.panel_letter(ax, letter, title)
            if name == "difference":
                ax.axhline(0.0, color=style.BLACK, linewidth=0.8, linestyle=":")
        fullest = max(axes[0], key=lambda ax: len(ax.lines))
        figure.legend(*fullest.get_legend_handles_labels(), loc="outside lower center", ncols=3)
        style.save(figure, data, out_base)


def final_data(runs: pl.DataFrame, info: FigureInfo) -> pl.DataFrame:
    """Final losses of every run, by panel; the paper's values join only at scale `paper`."""
    rows = of_paper(runs, THRESHOLD, RUNS).filter(pl.col("val_loss").is_not_null())
    rows = rows.with_columns(source=pl.lit("run"))
    pools = rows.filter(pl.col("condition").str.starts_with("ec-") | (pl.col("condition") == "et"))
    parts = [rows.with_columns(panel=pl.lit("condition")), pools.with_columns(panel=pl.lit("pool"))]
    parts = [part.select(FINAL_OUT) for part in parts]
    if info.scale == "paper":
        parts.append(_paper_rows(info.paper_values, rows["condition"].unique().to_list()))
    return pl.concat(parts, how="vertical_relaxed").sort("panel", "source", "condition", "seed", "pool_tokens")


def _paper_rows(values: pl.DataFrame, conditions: list[str]) -> pl.DataFrame:
    losses = values.filter((pl.col("paper") == THRESHOLD) & pl.col("metric").is_in(["val_loss", "train_loss"]))
    wide = losses.pivot(on="metric", index=["condition", "pool_tokens", "label"], values="value")
    wide = wide.with_columns(title=pl.col("label"), source=pl.lit("paper"), seed=pl.lit(None, pl.Int64))
    missing = [pl.lit(None, pl.Float64).alias(name) for name in SERIES.values() if name not in wide.columns]
    wide = wide.with_columns(missing)
    by_condition = wide.filter(pl.col("condition").is_in(conditions)).with_columns(panel=pl.lit("condition"))
    by_pool = wide.drop_nulls("pool_tokens").with_columns(panel=pl.lit("pool"))
    return pl.concat([by_condition.select(FINAL_OUT), by_pool.select(FINAL_OUT)])


def condition_panel(ax: Axes, data: pl.DataFrame, rules: dict[str, str | None]) -> None:
    """Final validation loss, one row per condition, best at the top."""
    means = (
        data.filter(pl.col("source") == "run").group_by("condition", maintain_order=True).agg(pl.col("val_loss").mean())
    )
    order = means.sort("val_loss", "condition", descending=True)["condition"].to_list()
    labels = []
    for position, condition in enumerate(order):
        rows = data.filter((pl.col("condition") == condition) & (pl.col("source") == "run"))
        look = style.condition_look(condition, rules.get(condition))
        style.seed_points(ax, position, rows["val_loss"].to_list(), look, horizontal=True)
        labels.append(style.condition_label(rows["title"][0] or condition, [rows.height]))
        paper = data.filter((pl.col("condition") == condition) & (pl.col("source") == "paper"))["val_loss"]
        for value in paper.drop_nulls():
            style.paper_point(ax, value, position, look.marker)
    ax.set_yticks(range(len(order)), labels)
    ax.set_ylim(-0.6, len(order) - 0.4)
    ax.grid(False, axis="y")
    ax.set_xlabel("final validation loss (nats / token)")


def pool_panel(ax: Axes, data: pl.DataFrame) -> None:
    """EC's training and validation loss against its pool, with ET's as horizontal bands."""
    own = data.filter(pl.col("source") == "run")
    for metric, look in POOL_SERIES.items():
        name = "training" if metric == "train_loss" else "validation"
        choice = own.filter(pl.col("condition").str.starts_with("ec-")).drop_nulls(["pool_tokens", metric])
        sizes = choice["pool_tokens"].unique().sort().to_list()
        groups = [choice.filter(pl.col("pool_tokens") == size)[metric].to_list() for size in sizes]
        aside = 0.95 if metric == "train_loss" else 1.05  # side by side where the two nearly agree
        for size, values in zip(sizes, groups, strict=True):
            style.seed_points(ax, size * aside, values, look)
        if sizes:
            means = [mean_interval(values).mean for values in groups]
            label = style.condition_label(f"EC {name}", [len(values) for values in groups])
            at = [size * aside for size in sizes]
            ax.plot(at, means, look.line, color=look.colour, linewidth=1.0, label=label)
        _threshold_band(ax, own.filter(pl.col("condition") == "et")[metric].drop_nulls().to_list(), name, look.line)
        reported = data.filter(pl.col("source") == "paper").drop_nulls(["pool_tokens", metric])
        for size, value in reported.select("pool_tokens", metric).iter_rows():
            style.paper_point(ax, size, value, look.marker)
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter(style.short_powers)
    ax.margins(x=0.15)
    ax.set_xlabel("tokens in the routing pool (log scale)")
    ax.set_ylabel("loss (nats / token)")


def _threshold_band(ax: Axes, values: list[float], name: str, line: str) -> None:
    if not values:
        return
    estimate = mean_interval(values)
    look = style.CONDITION_LOOKS["et"]
    label = style.condition_label(f"ET {name}", [len(values)])
    ax.axhline(estimate.mean, color=look.colour, linestyle=line, linewidth=1.0, label=label)
    if estimate.low is not None:
        ax.axhspan(estimate.low, estimate.high, color=look.colour, alpha=0.12, linewidth=0)


def draw_pool(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-fig06-pool-size: final validation loss by condition, and loss against the pool."""
    with style.styled():
        data = final_data(tables["runs"], info)
        if data.filter(pl.col("source") == "run").is_empty():
            return style.save_empty(f"no runs of paper A at scale {info.scale}", FINAL_OUT, out_base)
        by_condition = data.filter(pl.col("panel") == "condition")
        count = by_condition["condition"].n_unique()
        height = max(3.0, 1.2 + 0.24 * count)
        figure, axes = style.panels(width=style.DOUBLE, height=height, columns=2)
        rules = dict(of_paper(tables["runs"], THRESHOLD, RUNS).select("condition", "rule").iter_rows())
        condition_panel(axes[0, 0], by_condition, rules)
        style.panel_letter(axes[0, 0], "a", "by condition")
        pool = data.filter(pl.col("panel") == "pool")
        if pool.filter((pl.col("source") == "run") & pl.col("condition").str.starts_with("ec-")).is_empty():
            style.say(axes[0, 1], "no EC runs, so no pools to compare")
        else:
            pool_panel(axes[0, 1], pool)
            handles = axes[0, 1].get_legend_handles_labels()[0]
            if info.scale == "paper":
                handles.append(style.legend_dot("paper's value", open_marker=True))
            figure.legend(handles=handles, loc="outside lower right", ncols=2 + len(handles) // 5)
            style.panel_letter(axes[0, 1], "b", "by routing pool")
        style.save(figure, data, out_base)
