"""Paper A under frozen cut-offs: usage, loss and load out of domain and in small batches; tokens without an expert."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from moe_replication.figures import style
from moe_replication.figures.number_formats import short_numbers
from moe_replication.figures.pieces import band, borders
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import THRESHOLD, mean_band, of_paper

NAMES = ("condition", "title", "rule")
SHIFT_KEYS = (*NAMES, "domain", "batch", "batch_tokens")
# Share columns are shown in %.
SERIES = {
    "usage_mean": "tokens to an expert\n(%, root scale)",
    "loss": "loss\n(nats / token)",
    "load_worst": "worst load / target\n(log scale)",
    "zero_expert_share": "tokens without\nan expert (%)",
}
PERCENT = ("usage_mean", "usage_low", "usage_high", "zero_expert_share")
SHIFT_COLUMNS = (*SHIFT_KEYS, "seed", *PERCENT, "loss", "load_worst")
SHIFT_OUT = ("series", *SHIFT_KEYS, "n", "mean", "ci_low", "ci_high", "expert_low", "expert_high")
SHIFTED = ("tc", "ec-sequence", "ec-batch", "et", "et-fallback")
# Kind of batch -> how strongly it is drawn, and how far aside.
BATCHES = {"prefill": (0.35, -0.035), "decode": (1.0, 0.035)}
OF_LOADS = ("usage_mean", "load_worst")  # a token's own experts and loss do not depend on the batch

ZERO_KEYS = (*NAMES, "domain", "bin")
ZERO_COLUMNS = (*ZERO_KEYS, "seed", "layer", "low", "high", "share", "tokens")
ZERO_OUT = (*ZERO_KEYS, "quantile", "low", "high", "tokens", "n", "mean", "ci_low", "ci_high")
ZEROED = ("et", "ec-batch", "ec-sequence", "et-fallback")
DOMAIN_LOOKS = {
    "validation": style.Look(colour=style.BLACK, marker="s"),
    "code": style.Look(colour=style.BLUE, marker="o", line="--"),
    "math": style.Look(colour=style.VERMILION, marker="^", line="-."),
}
DOMAIN_TITLES = {"validation": "validation (in domain)"}


def shift_data(table: pl.DataFrame) -> pl.DataFrame:
    """Mean with 95 % t interval over seeds of every series, by condition, domain, kind and size of batch.

    expert_low and expert_high, of usage only: the least and most used expert, mean over seeds. Shares in %.
    """
    rows = of_paper(table, THRESHOLD, SHIFT_COLUMNS)
    if rows.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(SHIFT_OUT, pl.String))
    rows = rows.filter(pl.col("condition").is_in(SHIFTED)).with_columns(pl.col(PERCENT) * 100)
    parts = [mean_band(rows, SHIFT_KEYS, name).with_columns(series=pl.lit(name)) for name in SERIES]
    ends = rows.group_by(SHIFT_KEYS, maintain_order=True).agg(
        expert_low=pl.col("usage_low").mean(), expert_high=pl.col("usage_high").mean(), series=pl.lit("usage_mean")
    )
    data = pl.concat(parts).join(ends, on=["series", *SHIFT_KEYS], how="left", nulls_equal=True)
    return data.select(SHIFT_OUT).sort("series", "condition", "domain", "batch", "batch_tokens")


def domain_order(data: pl.DataFrame) -> list[str]:
    """Validation first, then the others by name."""
    return sorted(data["domain"].unique(), key=lambda name: (name != "validation", name))


def shift_panel(ax: Axes, data: pl.DataFrame, order: Sequence[str], batches: Sequence[int]) -> None:
    """One series in one domain: conditions side by side at every batch size, prefill faint beside decode."""
    for offset, condition in zip(style.side_by_side(0.33, len(order)), order, strict=True):
        for row in data.filter(pl.col("condition") == condition).iter_rows(named=True):
            look = style.condition_look(condition, row["rule"])
            strength, aside = BATCHES[row["batch"]]
            at = batches.index(row["batch_tokens"]) + offset + aside
            if row["expert_low"] is not None:
                ends = (row["expert_low"], row["expert_high"])
                ax.vlines(at, *ends, color=look.colour, linewidth=2.2, alpha=0.45 * strength)
            error = None if row["ci_high"] is None else row["ci_high"] - row["mean"]
            options = {"color": look.colour, "markersize": 3.2, "capsize": 1.5, "elinewidth": 1.1, "alpha": strength}
            ax.errorbar(at, row["mean"], error, fmt=look.marker, **options)
    ax.set_xticks(range(len(batches)), [str(size) for size in batches])
    ax.set_xlim(-0.55, len(batches) - 0.45)
    ax.grid(False, axis="x")
    borders(ax, len(batches))


def root(values: np.ndarray) -> np.ndarray:
    """Square root, zero for what an interval has below zero."""
    return np.sqrt(np.maximum(values, 0.0))


def percent_axis(ax: Axes) -> None:
    """From just below zero, so that markers at zero are whole, to 1 % at least and 100 % at most."""
    top = min(max(ax.get_ylim()[1], 1.0), 102.0)
    ax.set_ylim(-0.04 * top, top)


def load_axis(ax: Axes, loads: pl.Series) -> None:
    """Logarithmic around the loads; intervals of few seeds, which may reach below zero, are cut."""
    ax.set_yscale("log", base=2)
    ax.set_ylim(loads.min() / 2, loads.max() * 2)
    ax.yaxis.set_major_formatter(short_numbers)


def draw_shift(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-threshold-shift: frozen cut-offs by domain and batch size: usage, loss, worst load, tokens without expert."""
    with style.styled():
        data = shift_data(tables["probe-shift"])
        if data.is_empty():
            return style.save_empty(f"no domain probes of paper A at scale {info.scale}", SHIFT_OUT, out_base)
        order = [name for name in SHIFTED if name in data["condition"].unique()]
        domains, batches = domain_order(data), data["batch_tokens"].unique().sort().to_list()
        figure, axes = style.panels(width=style.DOUBLE, height=6.4, rows=len(SERIES), columns=len(domains), sharex=True)
        for row, (series, label) in enumerate(SERIES.items()):
            for column, domain in enumerate(domains):
                if column and series != "loss":  # domains differ more in loss than conditions do
                    axes[row, column].sharey(axes[row, 0])
                    axes[row, column].tick_params(labelleft=False)
                chosen = (pl.col("series") == series) & (pl.col("domain") == domain)
                if series not in OF_LOADS:
                    chosen &= pl.col("batch") == "decode"
                shift_panel(axes[row, column], data.filter(chosen), order, batches)
            axes[row, 0].set_ylabel(label)
            if series == "load_worst":
                load_axis(axes[row, 0], data.filter(pl.col("series") == series)["mean"])
            elif series == "usage_mean":  # one token goes wholly to an expert, so ends lie far above the mean
                axes[row, 0].set_yscale("function", functions=(root, np.square))
                axes[row, 0].set_yticks([0, 5, 10, 25, 50, 100])
                axes[row, 0].set_ylim(0, 100)
            elif series != "loss":
                percent_axis(axes[row, 0])
        for column, domain in enumerate(domains):
            axes[0, column].set_title(DOMAIN_TITLES.get(domain, domain), loc="left")
        figure.supxlabel("tokens in an inference batch", fontsize=8)
        figure.legend(handles=_condition_handles(data, order), loc="outside upper center", ncols=2)
        style.save(figure, data, out_base)


def _condition_handles(data: pl.DataFrame, order: Sequence[str]) -> list[Line2D]:
    handles = []
    for condition in order:
        rows = data.filter(pl.col("condition") == condition)
        look = style.condition_look(condition, rows["rule"][0])
        label = style.condition_label(rows["title"][0] or condition, rows["n"].to_list())
        options = {"color": look.colour, "marker": look.marker, "linestyle": "none", "markersize": 4}
        handles.append(Line2D([], [], label=label, **options))
    between = Line2D([], [], color=style.GREY, linewidth=2.2, alpha=0.5, label="least to most used expert of a batch")
    dots = {"color": style.BLACK, "marker": "o", "linestyle": "none", "markersize": 4}
    kinds = [Line2D([], [], label=f"{name} batches", alpha=BATCHES[name][0], **dots) for name in reversed(BATCHES)]
    return [*handles, between, *kinds]


def zero_data(table: pl.DataFrame) -> pl.DataFrame:
    """Share of token-layer pairs without an expert in %, mean with 95 % t interval over seeds, by domain and loss bin.

    `quantile` is the middle of the bin among the domain's tokens ordered by loss, in %.
    """
    rows = of_paper(table, THRESHOLD, ZERO_COLUMNS)
    if rows.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(ZERO_OUT, pl.String))
    rows = rows.filter(pl.col("condition").is_in(ZEROED) & pl.col("layer").is_null()).with_columns(
        pl.col("share") * 100, pl.col("low", "high", "tokens").mean().over(ZERO_KEYS)
    )
    band = mean_band(rows, [*ZERO_KEYS, "low", "high", "tokens"], "share").sort(ZERO_KEYS)
    total = pl.col("tokens").sum().over(*NAMES, "domain")
    upto = pl.col("tokens").cum_sum().over(*NAMES, "domain")
    return band.with_columns(quantile=100 * (upto - pl.col("tokens") / 2) / total).select(ZERO_OUT)


def zero_panel(ax: Axes, data: pl.DataFrame) -> None:
    """One condition: a line with band per domain over the quantiles of loss."""
    for domain in domain_order(data):
        rows = data.filter(pl.col("domain") == domain)
        look = DOMAIN_LOOKS.get(domain, style.Look(colour=style.PURPLE, marker="v", line=":"))
        label = DOMAIN_TITLES.get(domain, domain)
        dots = {"marker": look.marker, "markersize": 3, "label": label}
        ax.plot(rows["quantile"], rows["mean"], look.line, color=look.colour, **dots)
        band(ax, rows, "quantile", look.colour, 0.13)
    ax.set_xlim(0, 100)
    ax.set_xticks(range(10, 100, 20))
    ax.set_title(style.condition_label(data["title"][0] or data["condition"][0], data["n"].to_list()), loc="left")


def draw_zero_experts(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-zero-expert-tokens: how often a token passes no cut-off, by its loss, in and out of domain."""
    with style.styled():
        data = zero_data(tables["probe-zero_tokens"])
        if data.is_empty():
            return style.save_empty(f"no probes of EC or ET at scale {info.scale}", ZERO_OUT, out_base)
        names = [name for name in ZEROED if name in data["condition"].unique()]
        figure, axes = style.grid(len(names), columns=2, panel_height=1.9, header=0.6, sharex=True, sharey=True)
        for ax, name in zip(axes.flat, names, strict=False):
            zero_panel(ax, data.filter(pl.col("condition") == name))
        percent_axis(axes[0, 0])
        for ax in axes.flat[max(0, len(names) - axes.shape[1]) : len(names)]:
            ax.tick_params(labelbottom=True)
        figure.supxlabel("loss quantile within the domain (%): easy tokens left, hard tokens right", fontsize=8)
        figure.supylabel("tokens without a routed expert (%, mean over layers)", fontsize=8)
        fullest = max(axes.flat, key=lambda ax: len(ax.lines))
        style.legend_on_top(figure, fullest.get_legend_handles_labels()[0])
        style.save(figure, data, out_base)
