"""Paper A: loss curves, final losses, and loss and CORE against the routing pool."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from matplotlib.axes import Axes

from moe_replication.figures import style
from moe_replication.figures.curves import lines, show_late, smoothed
from moe_replication.figures.efficiency import efficiency_bar, efficiency_rows
from moe_replication.figures.number_formats import short_numbers, short_powers
from moe_replication.figures.paper_values import of_metric
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import SIZES, THRESHOLD, complete_band, of_paper
from moe_replication.statistics.intervals import mean_interval

POOLS = ("ec-sequence", "ec-8k", "ec-64k", "ec-batch")
TABLE_1 = ("dense", "tc", "tc-aux", "tc-loss-free", *POOLS, "et")
CURVES = ("condition", "seed", "tokens", "train_loss", "val_loss")
RUNS = ("condition", "seed", "title", "rule", "pool_tokens", "val_loss", "train_loss", "core")
CURVE_OUT = ("size", "condition", "title", "rule", "series", "tokens", "n", "mean", "ci_low", "ci_high")
FINAL_OUT = ("panel", "condition", "title", "seed", "pool_tokens", "val_loss", "train_loss", "core", "source")
SERIES = {"validation": "val_loss", "difference": "difference", "training": "train_loss"}
PANELS = {
    "validation": ("validation", "validation loss (nats / token)"),
    "difference": ("validation, minus dense", "difference, paired by seed"),
    "training": ("training, smoothed", "training loss (nats / token)"),
}
POOL_SERIES = {
    "train_loss": ("training", style.Look(colour=style.SKY, marker="v", line="--")),
    "val_loss": ("validation", style.CONDITION_LOOKS["ec-batch"]),
    "core": ("CORE", style.CONDITION_LOOKS["ec-batch"]),
}


def with_core(runs: pl.DataFrame, metrics: pl.DataFrame) -> pl.DataFrame:
    """`runs` with the column core (%) of the probes' metrics, null where CORE was not run."""
    if "core" not in metrics.columns:
        return runs.with_columns(core=pl.lit(None, pl.Float64))
    found = metrics.select("paper", "condition", "seed", "core")
    return runs.join(found, on=["paper", "condition", "seed"], how="left", maintain_order="left")


def curve_data(runs: pl.DataFrame, curves: pl.DataFrame) -> pl.DataFrame:
    """Mean loss with 95 % t interval over seeds per condition and token count; training loss smoothed.

    Series `difference` is the validation loss minus the dense model's of the same size and seed.
    """
    sizes = {name: size for size, names in SIZES.items() for name in names}
    rows = of_paper(curves, THRESHOLD, CURVES).filter(pl.col("condition").is_in(list(sizes)))
    rows = rows.sort("condition", "seed", "tokens")
    if rows.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(CURVE_OUT, pl.String))
    rows = smoothed(rows, "train_loss").with_columns(size=pl.col("condition").replace_strict(sizes))
    rows = _with_difference(rows)
    bands = [
        complete_band(rows, ["size", "condition"], "tokens", column).with_columns(series=pl.lit(name))
        for name, column in SERIES.items()
    ]
    names = of_paper(runs, THRESHOLD, RUNS).select("condition", "title", "rule").unique("condition", keep="first")
    return pl.concat(bands).join(names, on="condition", how="left", maintain_order="left").select(CURVE_OUT)


def _with_difference(rows: pl.DataFrame) -> pl.DataFrame:
    dense = [names[0] for names in SIZES.values()]
    base = rows.filter(pl.col("condition").is_in(dense)).select("size", "seed", "tokens", dense="val_loss")
    paired = rows.join(base, on=["size", "seed", "tokens"], how="left", maintain_order="left")
    compared = ~pl.col("condition").is_in(dense)
    return paired.with_columns(difference=pl.when(compared).then(pl.col("val_loss") - pl.col("dense")))


def curve_panel(ax: Axes, bands: pl.DataFrame, order: list[str], *, below: float = 0.08, inset: bool = True) -> None:
    """One line with band per condition; long runs show the last two thirds, with all of it in an `inset` if wanted."""
    lines(ax, bands, order, along="tokens")
    if inset and show_late(ax, bands, "tokens", below=below):
        whole = ax.inset_axes([0.62, 0.66, 0.36, 0.32])
        lines(whole, bands, order, along="tokens", markers=False)
        whole.set_title("all of training", fontsize=6.5, pad=2)
        whole.tick_params(labelsize=6)
        whole.xaxis.set_major_formatter(short_numbers)
    ax.set_xlabel("training tokens")
    ax.xaxis.set_major_formatter(short_numbers)


def draw_curves(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-fig01-loss-curves: validation loss with the token-efficiency bar, its difference to dense, training loss.

    One row of panels per model size.
    """
    with style.styled():
        data = curve_data(tables["runs"], tables["curves"])
        if data.is_empty():
            return style.save_empty(f"no runs of paper A at scale {info.scale}", CURVE_OUT, out_base)
        order = style.condition_order(data)
        curves = of_paper(tables["curves"], THRESHOLD, CURVES)
        sizes = [size for size in SIZES if size in data["size"]]
        shown = [name for name in SERIES if not data.filter(pl.col("series") == name)["mean"].is_null().all()]
        height = 0.6 + 2.4 * len(sizes)
        figure, axes = style.panels(width=style.DOUBLE, height=height, rows=len(sizes), columns=len(shown))
        handles = {}
        for (row, name), ax, letter in zip(_cells(sizes, shown), axes.flat, "abcdef", strict=False):
            bands = data.filter((pl.col("series") == name) & (pl.col("size") == row))
            title, label = PANELS[name]
            style.panel_letter(ax, letter, f"{title}, {row}" if len(sizes) > 1 else title)
            if bands.is_empty():
                style.say(ax, f"no {title} loss of {row}")
                continue
            room = 0.4 if name == "validation" else 0.08  # for the sentence on token efficiency
            curve_panel(ax, bands, order, below=room, inset=name != "difference")
            ax.set_ylabel(label)
            if name == "difference":
                ax.axhline(0.0, color=style.BLACK, linewidth=0.8, linestyle=":")
            if name == "validation":
                efficiency_bar(ax, curves, row, info.paper_values)
            handles |= {text: handle for handle, text in zip(*ax.get_legend_handles_labels(), strict=True)}
        figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=3)
        style.save(figure, pl.concat([data, efficiency_rows(curves, sizes)], how="diagonal_relaxed"), out_base)


def _cells(rows: list[str], columns: list[str]) -> list[tuple[str, str]]:
    return [(row, column) for row in rows for column in columns]


def final_data(runs: pl.DataFrame, info: FigureInfo) -> pl.DataFrame:
    """Final losses and CORE of every run of Table 1, by panel; the paper's values join only at scale `paper`."""
    rows = of_paper(runs, THRESHOLD, RUNS).filter(pl.col("val_loss").is_not_null())
    rows = rows.filter(pl.col("condition").is_in(TABLE_1)).with_columns(source=pl.lit("run"))
    pools = rows.filter(pl.col("condition").is_in([*POOLS, "et"]))
    parts = [rows.with_columns(panel=pl.lit("condition")), pools.with_columns(panel=pl.lit("pool"))]
    parts = [part.select(FINAL_OUT) for part in parts]
    if info.scale == "paper":
        parts.append(_paper_rows(info.paper_values, rows["condition"].unique().to_list()))
    return pl.concat(parts, how="vertical_relaxed").sort("panel", "source", "condition", "seed", "pool_tokens")


def _paper_rows(values: pl.DataFrame, conditions: list[str]) -> pl.DataFrame:
    table = [of_metric(values, metric, "A, Table 1") for metric in ("val_loss", "core")]
    found = pl.concat([*table, of_metric(values, "train_loss", "A, Figure 6")])
    wide = found.pivot(on="metric", index=["condition", "pool_tokens", "label"], values="value")
    wide = wide.with_columns(title=pl.col("label"), source=pl.lit("paper"), seed=pl.lit(None, pl.Int64))
    missing = [pl.lit(None, pl.Float64).alias(name) for name in POOL_SERIES if name not in wide.columns]
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
    ax.locator_params(axis="x", nbins=5)
    ax.set_xlabel("final validation loss (nats / token)")


def pool_panel(ax: Axes, data: pl.DataFrame, metrics: tuple[str, ...], label: str) -> None:
    """EC's metrics against its pool, with ET's as horizontal bands."""
    for number, metric in enumerate(metrics):
        aside = 1 + 0.1 * (number - (len(metrics) - 1) / 2)  # side by side where two metrics nearly agree
        _pool_line(ax, data, metric, aside)
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter(short_powers)
    ax.margins(x=0.15)
    ax.set_xlabel("tokens in the routing pool (log scale)")
    ax.set_ylabel(label)


def _pool_line(ax: Axes, data: pl.DataFrame, metric: str, aside: float) -> None:
    name, look = POOL_SERIES[metric]
    own = data.filter(pl.col("source") == "run")
    choice = own.filter(pl.col("condition").is_in(POOLS)).drop_nulls(["pool_tokens", metric])
    sizes = choice["pool_tokens"].unique().sort().to_list()
    groups = [choice.filter(pl.col("pool_tokens") == size)[metric].to_list() for size in sizes]
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
    """a-fig06-pool-size: final validation loss by condition, and loss and CORE against the pool."""
    with style.styled():
        runs = with_core(tables["runs"], tables["probe-metrics"])
        data = final_data(runs, info)
        if data.filter(pl.col("source") == "run").is_empty():
            return style.save_empty(f"no runs of paper A at scale {info.scale}", FINAL_OUT, out_base)
        by_condition = data.filter(pl.col("panel") == "condition")
        figure, axes = style.panels(width=style.DOUBLE, height=4.6, rows=2, columns=2)
        grid = axes[0, 0].get_gridspec()
        for ax in axes[:, 0]:
            ax.remove()
        left = figure.add_subplot(grid[:, 0])
        rules = dict(of_paper(runs, THRESHOLD, RUNS).select("condition", "rule").iter_rows())
        condition_panel(left, by_condition, rules)
        style.panel_letter(left, "a", "by condition")
        _pool_column(axes[:, 1], data.filter(pl.col("panel") == "pool"))
        handles = axes[0, 1].get_legend_handles_labels()[0]
        if info.scale == "paper":
            handles.append(style.legend_dot("paper's value", open_marker=True))
        figure.legend(handles=handles, loc="outside lower right", ncols=2 + len(handles) // 5)
        style.save(figure, data, out_base)


def _pool_column(axes: list[Axes], pool: pl.DataFrame) -> None:
    own = pool.filter((pl.col("source") == "run") & pl.col("condition").is_in(POOLS))
    if own.is_empty():
        style.say(axes[0], "no EC runs, so no pools to compare")
    else:
        pool_panel(axes[0], pool, ("train_loss", "val_loss"), "loss (nats / token)")
        style.panel_letter(axes[0], "b", "loss by routing pool")
    if own["core"].is_null().all():
        style.say(axes[1], "CORE was not run")
    else:
        pool_panel(axes[1], pool, ("core",), "CORE (%)")
        style.panel_letter(axes[1], "c", "CORE by routing pool")
