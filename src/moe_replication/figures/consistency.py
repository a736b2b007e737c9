"""Paper A: how alike two checkpoints of one run route the same tokens."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from matplotlib.axes import Axes

from moe_replication.figures import style
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import THRESHOLD, of_paper

COLUMNS = ("condition", "seed", "title", "rule", "step_a", "step_b", "fraction_a", "fraction_b", "metric", "value")
OUT = ("source", *COLUMNS)
FRACTIONS = ("fraction_a", "fraction_b")
CONDITIONS = ("tc", "tc-aux", "ec-sequence", "ec-64k", "ec-batch", "et")
LABELS = {
    "weighted_jaccard": "weighted Jaccard similarity",
    "joint_jsd": "joint Jensen-Shannon divergence (base 2)",
}
# The paper rounds its last checkpoint to 19k of 19,073 steps.
SAME_FRACTION = 0.01


def consistency_data(table: pl.DataFrame, values: pl.DataFrame, metric: str) -> pl.DataFrame:
    """One row per condition, seed and checkpoint pair of `metric`, and the paper's values for the same of both.

    Steps become fractions of training; the paper's through its own number of steps.
    """
    rows = of_paper(table, THRESHOLD, COLUMNS)
    if rows.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(OUT, pl.String))
    own = rows.filter((pl.col("metric") == metric) & pl.col("condition").is_in(CONDITIONS))
    reported, pairs = _reported(values, own, metric), checkpoint_pairs(own)
    found = [any(_same(pair, known) for known in pairs) for pair in reported.select(FRACTIONS).iter_rows()]
    reported = reported.filter(pl.Series(found, dtype=pl.Boolean))
    both = pl.concat([own.with_columns(source=pl.lit("run")), reported], how="diagonal_relaxed")
    return both.select(OUT).sort("condition", "source", "fraction_a", "fraction_b", "seed", nulls_last=True)


def _reported(values: pl.DataFrame, own: pl.DataFrame, metric: str) -> pl.DataFrame:
    values = values.filter(pl.col("paper") == THRESHOLD)
    horizon = values.filter(pl.col("metric") == "training_steps")["value"].max()
    cells = values.filter((pl.col("metric") == metric) & pl.col("condition").is_in(own["condition"].unique().to_list()))
    return cells.select(
        "condition", "step_a", "step_b", "metric", "value",
        fraction_a=pl.col("step_a") / horizon, fraction_b=pl.col("step_b") / horizon,
        source=pl.lit("paper"), title=pl.col("label"),
    )  # fmt: skip


def checkpoint_pairs(own: pl.DataFrame) -> list[tuple[float, float]]:
    """The pairs of fractions that any run has, earliest first; fractions within SAME_FRACTION are one."""
    pairs: list[tuple[float, float]] = []
    for pair in own.select(FRACTIONS).unique().sort(FRACTIONS).iter_rows():
        if not any(_same(pair, known) for known in pairs):
            pairs.append(pair)
    return pairs


def _same(pair: tuple[float, float], other: tuple[float, float]) -> bool:
    return all(abs(a - b) < SAME_FRACTION for a, b in zip(pair, other, strict=True))


def strip_panel(ax: Axes, data: pl.DataFrame, pairs: list[tuple[float, float]]) -> None:
    """One condition: every seed, mean and interval at each pair of checkpoints; open markers are the paper's."""
    own = data.filter(pl.col("source") == "run")
    look = style.condition_look(own["condition"][0], own["rule"][0])
    for position, pair in enumerate(pairs):
        at = [row for row in data.iter_rows(named=True) if _same((row["fraction_a"], row["fraction_b"]), pair)]
        seeds = [row["value"] for row in at if row["source"] == "run" and row["value"] is not None]
        if seeds:
            style.seed_points(ax, position, seeds, look, jitter=0.15)
        for row in at:
            if row["source"] == "paper":
                style.paper_point(ax, position + 0.33, row["value"], look.marker)
    names = [f"{100 * a:.0f} to {100 * b:.0f} %" for a, b in pairs]
    ax.set_xticks(range(len(pairs)), names, rotation=55, ha="right", rotation_mode="anchor", fontsize=6.5)
    ax.set_xlim(-0.6, len(pairs) - 0.4)
    ax.grid(False, axis="x")
    counts = own.group_by(FRACTIONS, maintain_order=True).len()["len"].to_list()
    title = own["title"][0] or own["condition"][0]
    ax.set_title(f"{title}\n({style.seeds_text(counts)})", loc="left", fontsize=7.5)


def _draw(metric: str, tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    with style.styled():
        data = consistency_data(tables["probe-consistency"], info.paper_values, metric)
        if data.is_empty():
            return style.save_empty(f"no runs with snapshots to compare at scale {info.scale}", OUT, out_base)
        own = data.filter(pl.col("source") == "run")
        names = [name for name in CONDITIONS if name in own["condition"].unique()]
        pairs = checkpoint_pairs(own)
        figure, axes = style.grid(len(names), columns=3, panel_height=2.1, header=0.6, sharey=True)
        for ax, name in zip(axes.flat, names, strict=False):
            strip_panel(ax, data.filter(pl.col("condition") == name), pairs)
        low, high = axes[0, 0].get_ylim()
        axes[0, 0].set_ylim(max(low, -0.02), min(high, 1.02))  # intervals of few seeds reach beyond what is possible
        figure.supylabel(LABELS[metric], fontsize=8)
        figure.supxlabel("pair of checkpoints (share of training done)", fontsize=8)
        handles = [style.legend_dot("one run, with mean and 95 % interval")]
        if "paper" in data["source"]:
            handles.append(style.legend_dot("paper's value (d12, one seed)", open_marker=True))
        figure.legend(handles=handles, loc="outside upper center", ncols=len(names) if len(names) < 2 else 2)
        style.save(figure, data, out_base)


def draw_jaccard(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-fig08-consistency: weighted Jaccard similarity of the routing of checkpoint pairs."""
    _draw("weighted_jaccard", tables, info, out_base)


def draw_jsd(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-fig14-joint-jsd: joint Jensen-Shannon divergence of the routing of checkpoint pairs."""
    _draw("joint_jsd", tables, info, out_base)
