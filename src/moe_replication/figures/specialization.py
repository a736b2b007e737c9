"""Paper A: which experts take the tokens of a domain, by layer."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.ticker import MaxNLocator

from moe_replication.figures import style
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import THRESHOLD, of_paper
from moe_replication.statistics.intervals import mean_interval

COLUMNS = ("condition", "seed", "title", "rule", "domain", "layer", "expert", "ratio", "tokens")
OUT = COLUMNS
DOMAINS = ("code", "math")
RULES = ("tc", "ec-sequence", "ec-batch", "et")
POOLS = ("ec-sequence", "ec-8k", "ec-64k", "ec-batch", "et")
DISTANCE = "specialization_code_math"  # of the probes' metrics, as claims judge it
GRID_OUT = (*OUT, "distance")
RATIO_LABEL = "share of the domain's tokens (%)"


def ratio_data(table: pl.DataFrame, conditions: tuple[str, ...]) -> pl.DataFrame:
    """Expert-token ratio in % of every run by domain (code, math), layer and expert."""
    rows = of_paper(table, THRESHOLD, COLUMNS)
    if rows.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(OUT, pl.String))
    rows = rows.filter(pl.col("condition").is_in(conditions) & pl.col("domain").is_in(DOMAINS))
    return rows.with_columns(pl.col("ratio") * 100).sort("condition", "seed", "domain", "layer", "expert")


def first_seed(data: pl.DataFrame) -> pl.DataFrame:
    """The rows of each condition's first seed: heat maps show one run, as experts of two runs do not correspond."""
    return data.filter(pl.col("seed") == pl.col("seed").min().over("condition"))


def domain_gap(data: pl.DataFrame) -> pl.DataFrame:
    """Ratio on code minus ratio on math, in points, by condition, seed, layer and expert; runs with both domains."""
    keys = ["condition", "seed", "title", "layer", "expert"]
    code, math = (data.filter(pl.col("domain") == domain).select(*keys, ratio="ratio") for domain in DOMAINS)
    both = code.join(math, on=keys, suffix="_math", maintain_order="left")
    return both.with_columns(gap=pl.col("ratio") - pl.col("ratio_math"))


def with_distance(rows: pl.DataFrame, metrics: pl.DataFrame) -> pl.DataFrame:
    """`rows` with each run's distance of code and math: mean over layers of the total variation (0 to 1) between
    the two domains' shares of assignments by expert; null where it was not measured.
    """
    found = of_paper(metrics, THRESHOLD, ("condition", "seed", DISTANCE)).rename({DISTANCE: "distance"})
    return rows.join(found, on=["condition", "seed"], how="left", maintain_order="left")


def heat_map(ax: Axes, rows: pl.DataFrame, value: str, norm: Normalize, colours: str) -> QuadMesh:
    """Layers down, experts across."""
    wide = rows.pivot(on="expert", index="layer", values=value).sort("layer")
    grid = wide.drop("layer").to_numpy()
    mesh = ax.pcolormesh(grid, norm=norm, cmap=colours, rasterized=True)
    ax.set_ylim(len(grid), 0)
    ax.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    ticks = [int(tick) for tick in ax.get_yticks() if 0 <= tick < len(grid)]
    ax.set_yticks([tick + 0.5 for tick in ticks], [str(wide["layer"][tick]) for tick in ticks])
    names = [name for name in wide.columns if name != "layer"]
    shown = range(0, len(names), max(1, len(names) // 4))
    ax.set_xticks([number + 0.5 for number in shown], [names[number] for number in shown])
    ax.tick_params(length=0)
    ax.grid(False)
    return mesh


def _heights(data: pl.DataFrame) -> float:
    """Inches of one heat map: flat for few layers, up to what a page holds."""
    return min(1.5, 0.55 + 0.075 * data["layer"].n_unique())


def draw_ratio(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-fig04b-expert-ratio: share of a domain's tokens by layer and expert, code above math, one column a rule."""
    with style.styled():
        data = first_seed(ratio_data(tables["probe-specialization"], RULES))
        if data.is_empty():
            return style.save_empty(f"no domain probes of code and math at scale {info.scale}", OUT, out_base)
        names = [name for name in RULES if name in data["condition"].unique()]
        domains = [domain for domain in DOMAINS if domain in data["domain"].unique()]
        height = 0.7 + len(domains) * (_heights(data) + 0.25)
        figure, axes = style.panels(width=style.DOUBLE, height=height, rows=len(domains), columns=len(names))
        norm = Normalize(0, data["ratio"].max())
        for column, name in enumerate(names):
            for row, domain in enumerate(domains):
                rows = data.filter((pl.col("condition") == name) & (pl.col("domain") == domain))
                if rows.is_empty():
                    style.say(axes[row, column], f"no {domain}")
                    continue
                mesh = heat_map(axes[row, column], rows, "ratio", norm, "Blues")
                if row == 0:
                    heading = f"{_two_lines(rows['title'][0] or name)}\nseed {rows['seed'][0]}"
                    axes[0, column].set_title(heading, loc="left", fontsize=7.5)
                if column == 0:
                    axes[row, 0].set_ylabel(f"{domain}\nMoE layer")
        figure.colorbar(mesh, ax=axes, label=RATIO_LABEL, pad=0.01)
        sizes = [_domain_text(data.filter(pl.col("domain") == domain)) for domain in domains]
        figure.supxlabel(f"expert ({'; '.join(sizes)})", fontsize=8)
        style.save(figure, data, out_base)


def draw_grid(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-fig22-specialization: expert-token ratios on code, math, and their difference, for every pool and ET."""
    with style.styled():
        every = ratio_data(tables["probe-specialization"], POOLS)
        if every.is_empty():
            return style.save_empty(f"no domain probes of EC or ET at scale {info.scale}", GRID_OUT, out_base)
        every = with_distance(every, tables["probe-metrics"])
        gaps, data = domain_gap(every), first_seed(every)
        names = [name for name in POOLS if name in gaps["condition"].unique()]
        if not names:
            return style.save_empty("no run was probed on both code and math", GRID_OUT, out_base)
        height = 0.9 + len(names) * (_heights(data) + 0.25)
        figure, axes = style.panels(width=style.DOUBLE, height=height, rows=len(names), columns=3)
        norm, most = Normalize(0, data["ratio"].max()), gaps["gap"].abs().max()
        spread = TwoSlopeNorm(0.0, -most or -1.0, most or 1.0)
        for row, name in enumerate(names):
            for column, domain in enumerate(DOMAINS):
                rows = data.filter((pl.col("condition") == name) & (pl.col("domain") == domain))
                shares = heat_map(axes[row, column], rows, "ratio", norm, "Blues")
                if row == 0:
                    axes[0, column].set_title(_domain_text(rows), loc="left")
            axes[row, 0].set_ylabel(_two_lines(rows["title"][0] or name), fontsize=7.5)
            own = gaps.filter(pl.col("condition") == name)
            shown = own.filter(pl.col("seed") == pl.col("seed").min())
            differences = heat_map(axes[row, 2], shown, "gap", spread, "PuOr_r")
            distances = every.filter(pl.col("condition") == name).unique("seed", maintain_order=True)["distance"]
            axes[row, 2].set_title(distance_text(distances.drop_nulls().to_list()), loc="left", fontsize=7)
        figure.colorbar(shares, ax=axes[:, :2], label=RATIO_LABEL, location="bottom", aspect=50, pad=0.01)
        figure.colorbar(differences, ax=axes[:, 2], label="code minus math (points)", location="bottom", pad=0.01)
        figure.supylabel("MoE layer (down) and expert (across), first seed", fontsize=8)
        style.save(figure, every, out_base)


def distance_text(values: list[float]) -> str:
    """Mean with the half-width of its 95 % t interval and n."""
    if not values:
        return "distance not measured"
    estimate = mean_interval(values)
    half = style.half_width(estimate)
    margin = "" if half is None else f" ± {half:.3f}"
    return f"distance {estimate.mean:.3f}{margin} (n = {estimate.n})"


def _domain_text(rows: pl.DataFrame) -> str:
    return f"{rows['domain'][0]}, {rows['tokens'].max():,} tokens"


def _two_lines(title: str) -> str:
    """A title broken at the space nearest to its middle."""
    spaces = [at for at, letter in enumerate(title) if letter == " "]
    if len(title) < 14 or not spaces:
        return title
    at = min(spaces, key=lambda space: abs(space - len(title) / 2))
    return f"{title[:at]}\n{title[at + 1 :]}"
