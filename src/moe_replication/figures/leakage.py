"""Paper A, Appendix A: bits that expert choice leaks about later tokens, against the routing pool."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from moe_replication.figures import style
from moe_replication.figures.number_formats import short_powers
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import THRESHOLD, of_paper
from moe_replication.statistics.leakage import leakage_table

RUNS = ("condition", "title", "rule", "pool_tokens", "experts", "top_k")
OUT = (
    "experts", "top_k", "pool_tokens", "quantity", "bits_per_expert", "bits_per_token", "condition", "title",
)  # fmt: skip
# Router logits and cut-offs are float32 (docs/architecture.md), so a cut-off holds at most 32 bits.
THRESHOLD_BITS = 32
QUANTITIES = {
    "ideal": ("exact choice, log2 C(N, k)", style.VERMILION, "-"),
    "lower_bound": ("its lower bound, log2(E − 1) per assignment", style.GREY, "--"),
    "threshold": (f"cut-off of b = {THRESHOLD_BITS} bits, at most", style.BLUE, "-"),
}
PANELS = {
    "bits_per_expert": ("per expert and pool", "bits per expert, pool and layer"),
    "bits_per_token": ("per token, all experts", "bits per token and layer"),
}


def leakage_data(runs: pl.DataFrame) -> pl.DataFrame:
    """Bits at the pool of every EC condition, and without condition at powers of two around all pools."""
    choice = of_paper(runs, THRESHOLD, RUNS).filter(pl.col("rule") == "expert_choice")
    choice = choice.drop_nulls(["pool_tokens", "experts", "top_k"]).unique("condition", keep="first")
    parts = []
    for (experts, top_k), used in choice.group_by("experts", "top_k"):
        experts, top_k = int(experts), int(top_k)
        line = leakage_table(_pools_around(choice["pool_tokens"], experts), experts, top_k, THRESHOLD_BITS)
        points = leakage_table(used["pool_tokens"].unique().to_list(), experts, top_k, THRESHOLD_BITS)
        named = points.join(used.select("pool_tokens", "condition", "title"), on="pool_tokens")
        both = pl.concat([line, named], how="diagonal")
        parts.append(both.with_columns(experts=pl.lit(experts), top_k=pl.lit(top_k)))
    if not parts:
        return pl.DataFrame(schema=dict.fromkeys(OUT, pl.String))
    return pl.concat(parts).select(OUT).sort("top_k", "experts", "quantity", "condition", "pool_tokens")


def _pools_around(pools: pl.Series, experts: int) -> list[int]:
    """Powers of two from a quarter of the smallest pool to four times the largest, each expert having a token."""
    first = max(math.ceil(math.log2(experts)), math.floor(math.log2(pools.min())) - 2)
    return [2**power for power in range(first, math.ceil(math.log2(pools.max())) + 3)]


def bits_panel(ax: Axes, data: pl.DataFrame, column: str) -> None:
    """One line a quantity, thinner for further fan-outs, and a dot at every pool that was run."""
    lines = data.filter(pl.col("condition").is_null())
    for width, (_, part) in zip(_widths(data), lines.group_by("top_k", "experts", maintain_order=True), strict=True):
        for quantity, (_, colour, line) in QUANTITIES.items():
            rows = part.filter(pl.col("quantity") == quantity)
            ax.plot(rows["pool_tokens"], rows[column], line, color=colour, linewidth=width)
    points = data.filter(pl.col("condition").is_not_null(), pl.col("quantity") != "lower_bound")
    for (quantity,), rows in points.group_by("quantity", maintain_order=True):
        dots = {"color": QUANTITIES[quantity][1], "markeredgecolor": "white", "markersize": 6, "zorder": 4}
        ax.plot(rows["pool_tokens"], rows[column], "o", **dots)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.xaxis.set_major_formatter(short_powers)
    ax.set_xlabel("tokens in the routing pool (log scale)")
    ax.set_ylabel(PANELS[column][1])


def _widths(data: pl.DataFrame) -> list[float]:
    return [1.6 / (1 + number) for number in range(data.select("top_k", "experts").n_unique())]


def _legend(data: pl.DataFrame) -> list[Line2D]:
    handles = [Line2D([], [], color=colour, linestyle=line, label=name) for name, colour, line in QUANTITIES.values()]
    handles.append(style.legend_dot("pools that were run", size=6))
    kinds = data.select("top_k", "experts").unique(maintain_order=True).rows()
    if len(kinds) > 1:
        handles += [
            Line2D([], [], color=style.BLACK, linewidth=width, label=f"{top_k} of {experts} experts a token")
            for width, (top_k, experts) in zip(_widths(data), kinds, strict=True)
        ]
    return handles


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-appendix-a-leakage: bits leaked per expert and per token against the pool; arithmetic, no seeds."""
    with style.styled():
        data = leakage_data(tables["runs"])
        if data.is_empty():
            return style.save_empty(f"no EC runs of paper A at scale {info.scale}", OUT, out_base)
        figure, axes = style.panels(width=style.DOUBLE, height=3.1, columns=2)
        for ax, letter, (column, (title, _)) in zip(axes[0], "ab", PANELS.items(), strict=True):
            bits_panel(ax, data, column)
            style.panel_letter(ax, letter, title)
        figure.legend(handles=_legend(data), loc="outside lower center", ncols=3)
        style.save(figure, data, out_base)
