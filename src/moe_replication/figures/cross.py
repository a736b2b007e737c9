"""Both papers: E under other routing rules, and the losses of paper B under paper A's token choice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from moe_replication.figures import style
from moe_replication.figures.ecology_runs import ecology_runs, set_title, share_text, with_means
from moe_replication.figures.pieces import borders, named_places
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import THRESHOLD, of_paper
from moe_replication.statistics.studies import CROSS, of_row

KEYS = ("condition", "rule", "dataset", "data_used", "control_number")
VISION = ("dead_experts", "dead_experts_assigned", "usage_entropy", "test_accuracy")
LANGUAGE = ("val_loss", "dead_experts", "dead_experts_assigned")
OUT = ("source", *KEYS, "seed", "measure", "value", "n", "ci_low", "ci_high")
COUNTS = ("dead_experts", "dead_experts_assigned")
LABELS = {
    "dead_experts": "dead experts\n(share of top-1 < {share})",
    "dead_experts_assigned": "dead experts\n(share of assignments < {share})",
    "usage_entropy": "entropy of use\n(0 one expert, 1 even)",
    "test_accuracy": "test accuracy",
    "val_loss": "validation loss\n(nats / token)",
}
RULES = {
    "softmax_top_k": "softmax top-k",
    "token_choice": "token choice",
    "expert_threshold": "Expert Threshold",
    "expert_choice": "Expert Choice",
}
LOOKS = {"softmax_top_k": style.RULE_LOOKS["token_choice"]} | style.RULE_LOOKS
OF_LANGUAGE = "cross-tc-"


def cross_data(runs: pl.DataFrame) -> pl.DataFrame:
    """Columns of OUT: every run of paper B's row CROSS and the mean over seeds of each measure of VISION."""
    return _long(of_row(ecology_runs(runs, ("rule", "control_number", *VISION)), CROSS), VISION)


def language_data(runs: pl.DataFrame) -> pl.DataFrame:
    """Columns of OUT: the same of paper A's conditions cross-tc-*."""
    found = of_paper(runs, THRESHOLD, ("condition", "seed", "rule", "dataset", "control_number", *LANGUAGE))
    found = found.filter(pl.col("condition").str.starts_with(OF_LANGUAGE))
    return _long(found.with_columns(data_used=pl.col("dataset"), dataset=pl.lit("language")), LANGUAGE)


def _long(found: pl.DataFrame, measures: Sequence[str]) -> pl.DataFrame:
    long = with_means(found.with_columns(pl.col("control_number").round(3)), KEYS, measures)
    return long.select(OUT).sort("measure", "source", "condition", "seed")


def panel(ax: Axes, data: pl.DataFrame, controls: Sequence[float | None], rules: Sequence[str]) -> None:
    """One measure: at each value of E every run, mean and interval, the rules side by side."""
    runs = data.filter(pl.col("source") == "run")
    for (rule, control), group in runs.group_by("rule", "control_number", maintain_order=True):
        aside = (rules.index(rule) - (len(rules) - 1) / 2) * 0.26
        style.seed_points(ax, controls.index(control) + aside, group["value"].to_list(), LOOKS[rule], jitter=0.05)
    named_places(ax, ["undefined" if value is None else f"{value:g}" for value in controls])
    borders(ax, len(controls))


def _count_axis(ax: Axes, data: pl.DataFrame) -> None:
    top = max(data.filter(pl.col("source") == "run")["value"].max(), 4.0)
    ax.set_ylim(-0.06 * top, 1.15 * top)
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))


def _panels(data: pl.DataFrame, measures: Sequence[str], info: FigureInfo, out_base: Path | str) -> None:
    known = data["control_number"].unique()
    controls = [*([None] if known.null_count() else []), *known.drop_nulls().sort()]
    present = data["rule"].unique().to_list()
    rules = [rule for rule in RULES if rule in present]
    figure, axes = style.grid(len(measures), columns=2, panel_height=2.0, header=0.7)
    share = share_text(info.analysis.dead_share)
    for ax, letter, measure in zip(axes.flat, "abcd", measures, strict=False):
        here = data.filter(pl.col("measure") == measure)
        if here.is_empty():
            style.say(ax, f"{LABELS[measure].format(share=share)}:\nnot recorded")
            continue
        panel(ax, here, controls, rules)
        if measure in COUNTS:
            _count_axis(ax, here)
        ax.set_ylabel(LABELS[measure].format(share=share))
        style.panel_letter(ax, letter, style.seeds_text(here.filter(pl.col("source") == "mean")["n"].to_list()))
    used = set_title(data["dataset"][0], data["data_used"])
    figure.supxlabel(f"control number E = T H / (O + B); undefined: all weights 0; {used}", fontsize=8)
    handles = [Line2D([], [], linestyle="none", marker=LOOKS[rule].marker, color=LOOKS[rule].colour, label=RULES[rule])
               for rule in rules]  # fmt: skip
    style.legend_on_top(figure, [*handles, style.legend_dot("dots: one run each; bars: mean, 95 % interval", size=3)])
    style.save(figure, data, out_base)


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """b-cross: does E matter under Expert Threshold and Expert Choice as it does under softmax top-k?"""
    with style.styled():
        data = cross_data(tables["runs"])
        if data.is_empty():
            return style.save_empty(f"no vision runs under other routing rules at scale {info.scale}", OUT, out_base)
        _panels(data, VISION, info, out_base)


def draw_language(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-cross: validation loss and dead experts of token choice under paper B's losses."""
    with style.styled():
        data = language_data(tables["runs"])
        if data.is_empty():
            return style.save_empty(f"no language runs with paper B's losses at scale {info.scale}", OUT, out_base)
        _panels(data, LANGUAGE, info, out_base)
