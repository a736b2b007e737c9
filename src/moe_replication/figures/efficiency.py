"""Paper A: with how many fewer tokens ET reaches token choice's loss: the bar of Figure 1, and a figure of its own."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from matplotlib.axes import Axes

from moe_replication.figures import style
from moe_replication.figures.paper_values import of_metric
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import SIZES, THRESHOLD, of_paper
from moe_replication.statistics.token_efficiency import (
    EFFICIENCY_BASELINES,
    POWER_LAWS,
    Efficiency,
    power_laws,
    ratios_by_seed,
    token_efficiency,
)

# Model size -> the condition that should need fewer tokens than its baseline.
REFERENCES = {"d12": "et", "d20": "d20-et"}
NAMES = {"et": "ET", "tc-aux": "TC aux"}
ROW = {
    "size": pl.String,
    "condition": pl.String,
    "title": pl.String,
    "series": pl.String,
    "tokens": pl.Int64,
    "n": pl.Int64,
    "mean": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
}
CURVES = ("condition", "seed", "tokens", "val_loss")
RATIOS = {
    "series": pl.String,
    "condition": pl.String,
    "baseline": pl.String,
    "seed": pl.Int64,
    "n": pl.Int64,
    "ratio": pl.Float64,
    "ratio_low": pl.Float64,
    "ratio_high": pl.Float64,
    "loss": pl.Float64,
    "baseline_tokens": pl.Float64,
    "reference_tokens": pl.Float64,
    "note": pl.String,
}
OUT = (*RATIOS, *(name for name in POWER_LAWS if name not in RATIOS))
# Parameter of the power law -> its panel's title and axis.
LAWS = {"b": ("exponent", "b in loss = floor + a tokens$^{-b}$"), "l_inf": ("floor", "floor (nats / token)")}


def compared(curves: pl.DataFrame, size: str) -> tuple[str, str] | None:
    """(reference, baseline) of a model size; None when one of them did not run."""
    reference = REFERENCES[size]
    pair = (reference, EFFICIENCY_BASELINES[reference])
    return pair if set(pair) <= set(curves["condition"]) else None


def efficiency_rows(curves: pl.DataFrame, sizes: list[str]) -> pl.DataFrame:
    """One row of series `token_ratio` per model size: mean and interval hold the ratio, title the note."""
    rows = []
    for size in sizes:
        if pair := compared(curves, size):
            found = token_efficiency(curves, *pair)
            label = (size, pair[0], f"tokens of {pair[1]} over those of {pair[0]} at equal loss; {found.note}")
            rows.append((*label, "token_ratio", None, found.n, found.ratio, found.low, found.high))
    return pl.DataFrame(rows, schema=ROW, orient="row")


def efficiency_bar(ax: Axes, curves: pl.DataFrame, size: str, values: pl.DataFrame) -> None:
    """A bar at the baseline's lowest loss, from the tokens that the reference needed to those that were spent."""
    pair = compared(curves, size)
    if pair is None:
        return
    seeds = ratios_by_seed(curves, *pair).drop_nulls("ratio")
    found = token_efficiency(curves, *pair)
    if found.ratio is not None:
        loss, spent = seeds["loss"].mean(), seeds["baseline_tokens"].mean()
        arrow = {"arrowstyle": "<->", "color": style.BLACK, "linewidth": 1.0, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", (spent / found.ratio, loss), (spent, loss), arrowprops=arrow, zorder=6)
        for ratio in of_metric(values, "token_ratio")["value"]:
            style.paper_point(ax, spent / ratio, loss, "o")
    ax.text(0.02, 0.02, _sentence(found, pair, values), transform=ax.transAxes, fontsize=6.2, va="bottom", zorder=7)


def _sentence(found: Efficiency, pair: tuple[str, str], values: pl.DataFrame) -> str:
    lines = [f"{_name(pair[0])} to {_name(pair[1])}'s loss:"]
    if found.ratio is None:
        lines.append(f"reached in {found.n - found.censored} of {found.n} seeds")
    else:
        lines.append(f"{found.ratio:.2f}x fewer tokens")
        ends = "" if found.low is None else f"[{found.low:.2f}, {found.high:.2f}], "
        lines.append(f"{ends}n = {found.n}")
    lines += [f"(paper, d20: {value:g}x)" for value in of_metric(values, "token_ratio")["value"]]
    return "\n".join(lines)


def _name(condition: str) -> str:
    return NAMES[condition.removeprefix("d20-")]


def ratio_data(curves: pl.DataFrame) -> pl.DataFrame:
    """Series `seed`: the ratio of every seed, null where the reference never has the loss; series `mean`: over seeds.

    Columns of RATIOS, for every pair of EFFICIENCY_BASELINES that ran.
    """
    parts = [pl.DataFrame(schema=RATIOS)]
    for reference, baseline in (pair for size in REFERENCES if (pair := compared(curves, size))):
        label = {"condition": reference, "baseline": baseline}
        names = [pl.lit(value).alias(key) for key, value in label.items()]
        seeds = ratios_by_seed(curves, reference, baseline).with_columns(*names, series=pl.lit("seed"), n=pl.lit(1))
        found = token_efficiency(curves, reference, baseline)
        ends = {"ratio": found.ratio, "ratio_low": found.low, "ratio_high": found.high}
        mean = pl.DataFrame([label | ends | {"series": "mean", "n": found.n, "note": found.note}], schema=RATIOS)
        parts += [seeds.cast({"n": pl.Int64}), mean]
    return pl.concat(parts, how="diagonal")


def efficiency_data(curves: pl.DataFrame) -> pl.DataFrame:
    """Rows of ratio_data, then the power laws of every condition of paper A with series `power_law`."""
    rows = of_paper(curves, THRESHOLD, CURVES)
    laws = power_laws(rows).with_columns(series=pl.lit("power_law"))
    both = pl.concat([ratio_data(rows), laws], how="diagonal")
    return both.select(OUT)


def ratio_panel(ax: Axes, data: pl.DataFrame, values: pl.DataFrame) -> None:
    """Every seed's ratio, the geometric mean with its interval, and the paper's; above 1 the reference needs less."""
    labels = []
    means = data.filter(pl.col("series") == "mean")
    for slot, mean in enumerate(means.iter_rows(named=True)):
        own = pl.col("condition") == mean["condition"]
        seeds = data.filter(own & (pl.col("series") == "seed"))["ratio"]
        found = seeds.drop_nulls()
        look = style.condition_look(mean["condition"], None)
        dots = {"color": look.colour, "markersize": 3.6, "markeredgecolor": "white", "markeredgewidth": 0.5}
        ax.plot(slot + style.side_by_side(0.12, len(found)), found, look.marker, zorder=4, **dots)
        if mean["ratio"] is not None:
            ends = (mean["ratio"], mean["ratio_low"], mean["ratio_high"])
            error = None if ends[1] is None else [[ends[0] - ends[1]], [ends[2] - ends[0]]]
            bar = {"color": look.colour, "markersize": 11, "markeredgewidth": 1.6, "elinewidth": 1.2, "capsize": 2.5}
            ax.errorbar(slot, ends[0], error, marker="_", zorder=3, **bar)
        size = "d20, " if mean["condition"].startswith("d20-") else ""
        never = f"\nnever reached\nin {seeds.null_count()} of them" if seeds.null_count() else ""
        labels.append(f"{size}{_name(mean['condition'])}\nto {_name(mean['baseline'])}'s loss\nn = {mean['n']}{never}")
    for value in of_metric(values, "token_ratio")["value"]:
        label = f"paper, d20: {value:g}"
        style.paper_line(ax, value, label)
        above = {"xytext": (0, 4), "textcoords": "offset points", "ha": "right", "fontsize": 6.2}
        ax.annotate(label, (0.99, value), xycoords=ax.get_yaxis_transform(), **above)
    ax.axhline(1.0, color=style.BLACK, linewidth=0.8)
    ax.margins(y=0.25 if data["ratio"].is_null().all() else 0.1)
    ax.set_xticks(range(len(labels)), labels)
    ax.set_xlim(-0.6, max(len(labels), 1) - 0.4)
    ax.grid(False, axis="x")
    ax.set_ylabel("baseline's tokens over ET's\nat equal loss")


def law_panel(ax: Axes, laws: pl.DataFrame, parameter: str, order: list[str]) -> None:
    """One row a condition: every seed's fit with its own interval, faint, and the mean over seeds with its interval."""
    for number, condition in enumerate(order):
        at = len(order) - 1 - number
        rows = laws.filter(pl.col("condition") == condition)
        look = style.condition_look(condition, None)
        seeds = rows.drop_nulls(["seed", parameter])
        offsets = style.side_by_side(0.22, seeds.height)
        ends = [seeds[f"{parameter}_{end}"] for end in ("low", "high")]
        ax.hlines(at + offsets, *ends, color=look.colour, alpha=0.35, linewidth=0.8)
        ax.plot(seeds[parameter], at + offsets, look.marker, color=look.colour, markersize=2.6, alpha=0.8)
        for row in rows.filter(pl.col("seed").is_null() & (pl.col("n") > 1)).iter_rows(named=True):
            mean, low, high = (row[f"{parameter}{end}"] for end in ("", "_low", "_high"))
            bar = {"color": look.colour, "markersize": 9, "markeredgewidth": 1.6, "elinewidth": 1.4, "capsize": 2.5}
            ax.errorbar(mean, at, xerr=[[mean - low], [high - mean]], marker="|", zorder=5, **bar)
        for note in rows.filter(pl.col("seed").is_null())["note"].drop_nulls():
            below = 0.0 if seeds.is_empty() else 0.36
            ax.text(0.99, at - below, note, transform=ax.get_yaxis_transform(), ha="right", va="center", fontsize=6.2)
    if laws[parameter].is_null().all():
        ax.set_xticks([])
    else:  # the interval of a single fit may be far wider
        ax.set_xlim(*_window(laws, parameter))
    ax.set_ylim(-0.7, len(order) - 0.4)
    ax.grid(False, axis="y")
    ax.set_xlabel(LAWS[parameter][1])


def _window(laws: pl.DataFrame, parameter: str) -> tuple[float, float]:
    """Range that holds every fit and every interval over seeds, with a margin."""
    means = laws.filter(pl.col("seed").is_null())
    both = pl.concat([laws[parameter], means[f"{parameter}_low"], means[f"{parameter}_high"]]).drop_nulls()
    margin = 0.08 * (both.max() - both.min()) or 0.1 * abs(both.max())
    return both.min() - margin, both.max() + margin


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-token-efficiency: token ratios by seed; exponent and floor of the power laws of Figure 1's conditions."""
    with style.styled():
        data = efficiency_data(tables["curves"])
        names = [name for of_size in SIZES.values() for name in of_size]
        laws = data.filter((pl.col("series") == "power_law") & pl.col("condition").is_in(names))
        if laws.is_empty():
            return style.save_empty(f"no loss curves of paper A at scale {info.scale}", OUT, out_base)
        order = style.condition_order(laws)
        height = max(3.0, 1.0 + 0.27 * len(order))
        figure, axes = style.panels(width=style.DOUBLE, height=height, columns=3)
        axes[0, 0].get_gridspec().set_width_ratios([1.1, 1.3, 1.3])
        if (data["series"] == "mean").any():
            ratio_panel(axes[0, 0], data, info.paper_values)
        else:
            style.say(axes[0, 0], "ET and TC with aux loss\ndid not both run")
        style.panel_letter(axes[0, 0], "a", "token ratio")
        for ax, letter, (parameter, (title, _)) in zip(axes[0, 1:], "bc", LAWS.items(), strict=True):
            law_panel(ax, laws, parameter, order)
            style.panel_letter(ax, letter, f"power law, {title}")
            ax.set_yticks(range(len(order)), list(reversed(order)) if ax is axes[0, 1] else [])
        style.save(figure, data, out_base)
