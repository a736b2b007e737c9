"""Paper A: the tokens of one passage, shaded by how many experts each of them meets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from moe_replication.figures import style
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import THRESHOLD, of_paper

COLUMNS = ("condition", "seed", "title", "rule", "domain", "sample", "position", "text", "loss", "layer", "fanout")
OUT = COLUMNS
RULES = ("et", "ec-batch", "ec-sequence", "tc")
LETTERS, LINES = 104, 6  # of the passage in the overview
LETTER_POINTS = 72 * 0.97 * style.DOUBLE / LETTERS  # width of a letter when LETTERS of them fill the figure
BLOCK, BLOCKS = 64, 2  # tokens a row, and rows, of a map by layer
NONE = "#F4B9A0"  # a token that no routed expert meets
SHADES = colormaps["YlGnBu"].with_extremes(under=NONE)
DARK = 0.6  # text turns white where the shade is beyond this share of the scale
NO_RUNS = "no token maps of EC, ET or TC at scale {}"


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A run of letters of one token on one line."""

    token: int
    line: int
    column: int
    letters: str


def passage_data(table: pl.DataFrame, conditions: Sequence[str]) -> pl.DataFrame:
    """Rows of the first seed of each condition for one passage that all of them were probed on.

    The passage is the first sample of the first domain, validation before the others.
    """
    rows = of_paper(table, THRESHOLD, COLUMNS)
    if rows.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(OUT, pl.String))
    rows = rows.filter(pl.col("condition").is_in(conditions))
    rows = rows.filter(pl.col("seed") == pl.col("seed").min().over("condition"))
    common = (
        rows.group_by("domain", "sample").agg(pl.col("condition").n_unique())
        .filter(pl.col("condition") == rows["condition"].n_unique())
        .sort(pl.col("domain") != "validation", "domain", "sample")
    )  # fmt: skip
    return rows.join(common.head(1).drop("condition"), on=["domain", "sample"], how="semi").sort(
        "condition", "layer", "position", nulls_last=False
    )


def readable(text: str) -> str:
    """A token's text as one line of letters that the figure's font has; a dot for a token that ends no letter."""
    text = text.replace("\r", "").replace("\t", "    ").replace("\n", "↵")
    return "".join(letter if letter.isprintable() and ord(letter) < 0x2E80 else "□" for letter in text) or "·"


def lay_out(texts: Sequence[str], letters: int, lines: int) -> list[Piece]:
    """Place tokens one after the other on lines of `letters`; a line break ends a line, what is beyond `lines` goes."""
    pieces, line, column = [], 0, 0
    for token, text in enumerate(texts):
        for letter_run in _runs(readable(text)):
            if column and column + len(letter_run) > letters:
                line, column = line + 1, 0
            for start in range(0, len(letter_run), letters):
                part = letter_run[start : start + letters]
                if start:
                    line += 1
                if line == lines:
                    return pieces
                pieces.append(Piece(token=token, line=line, column=column, letters=part))
                column += len(part)
                if start + letters < len(letter_run):
                    column = 0
            if letter_run.endswith("↵"):
                line, column = line + 1, 0
        if line == lines:
            return pieces
    return pieces


def _runs(text: str) -> list[str]:
    """A token's letters, cut after every line break."""
    return [run for run in text.replace("↵", "↵\n").split("\n") if run]


def token_norm(data: pl.DataFrame) -> Normalize:
    """Fan-out to the 98th percentile, so that a few spikes do not pale everything else; no expert lies below it."""
    return Normalize(0.5, max(1.5, float(np.quantile(data["fanout"], 0.98))))


def shade(value: float, norm: Normalize) -> tuple[tuple[float, ...], str]:
    """Background (RGBA) and text colour of a token."""
    level = float(norm(value))
    return SHADES(level), "white" if level > DARK else style.BLACK


def text_panel(ax: Axes, rows: pl.DataFrame, norm: Normalize) -> None:
    """The passage as text; tokens start on a grid of LETTERS columns."""
    values = rows["fanout"].to_list()
    pieces = lay_out(rows["text"].to_list(), LETTERS, LINES)
    for piece in pieces:
        background, colour = shade(values[piece.token], norm)
        place = (piece.column, piece.line + 0.04)
        ax.add_patch(Rectangle(place, len(piece.letters) - 0.1, 0.92, facecolor=background, linewidth=0))
        # As lines are full-width, the font's size is known: a letter of this font is 0.602 em wide.
        font = {"family": "DejaVu Sans Mono", "fontsize": LETTER_POINTS / 0.602, "color": colour}
        ax.text(piece.column, piece.line + 0.5, piece.letters, va="center_baseline", parse_math=False, **font)
    ax.set_xlim(0, LETTERS)
    ax.set_ylim(1 + pieces[-1].line, 0)
    ax.set_axis_off()


def shade_bar(figure: Figure, axes: np.ndarray, norm: Normalize, data: pl.DataFrame, what: str) -> None:
    """Colour bar of the shades below the panels, with the passage they belong to."""
    label = f"{what}; left end: none ({data['domain'][0]}, sample {data['sample'][0]})"
    options = {"extend": "both", "location": "bottom", "aspect": 60, "shrink": 0.6, "pad": 0.02}
    bar = figure.colorbar(ScalarMappable(norm, SHADES), ax=axes, label=label, **options)
    bar.locator = MaxNLocator(nbins=8, integer=True)


def draw_overview(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-fig04a-token-map: one passage under ET, EC and TC, tokens shaded by their experts summed over layers."""
    with style.styled():
        data = passage_data(tables["probe-token_map"], RULES)
        data = data if data.is_empty() else data.filter(pl.col("layer").is_null())
        if data.is_empty():
            return style.save_empty(NO_RUNS.format(info.scale), OUT, out_base)
        names = [name for name in RULES if name in data["condition"].unique()]
        texts = data.filter(pl.col("condition") == names[0])["text"].to_list()
        height = 0.5 + len(names) * (0.32 + 0.145 * (1 + lay_out(texts, LETTERS, LINES)[-1].line))
        figure, axes = style.panels(width=style.DOUBLE, height=height, rows=len(names))
        norm = token_norm(data)
        for ax, name in zip(axes[:, 0], names, strict=True):
            rows = data.filter(pl.col("condition") == name)
            text_panel(ax, rows, norm)
            means = f"{rows['fanout'].mean():.2f} experts a token, loss {rows['loss'].mean():.2f} nats"
            ax.set_title(f"{rows['title'][0] or name} (seed {rows['seed'][0]}): {means}", loc="left")
        shade_bar(figure, axes, norm, data, "experts a token meets, summed over layers")
        style.save(figure, data, out_base)


def layer_block(ax: Axes, rows: pl.DataFrame, norm: Normalize, columns: int) -> None:
    """Layers down, tokens across, for one block of tokens with room for `columns` of them."""
    layers = rows["layer"].unique().sort().to_list()
    wide = rows.pivot(on="layer", index=["position", "text"], values="fanout").sort("position")
    shades = [[shade(value, norm)[0] for value in wide[str(layer)]] for layer in layers]
    ax.imshow(shades, aspect="auto", interpolation="nearest")
    names = [readable(text).strip(" ")[:12] or "␣" for text in wide["text"]]
    ax.set_xticks(range(wide.height), names, rotation=90, fontsize=5.5, parse_math=False)
    ax.set_xlim(-0.5, columns - 0.5)
    every = max(1, len(layers) // 6)
    ax.set_yticks(range(0, len(layers), every), [str(layer) for layer in layers[::every]])
    ax.tick_params(length=0, pad=2)
    ax.grid(False)


def _draw_layers(condition: str, tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    with style.styled():
        data = passage_data(tables["probe-token_map"], (condition,))
        data = data if data.is_empty() else data.drop_nulls("layer").filter(pl.col("position") < BLOCK * BLOCKS)
        if data.is_empty():
            return style.save_empty(f"no token map of {condition} at scale {info.scale}", OUT, out_base)
        positions, layers = data["position"].n_unique(), data["layer"].n_unique()
        blocks = -(-positions // BLOCK)
        figure, axes = style.panels(width=style.DOUBLE, height=0.9 + blocks * (0.85 + 0.1 * layers), rows=blocks)
        norm = token_norm(data)
        for block, ax in enumerate(axes[:, 0]):
            part = data.filter(pl.col("position").is_between(block * BLOCK, (block + 1) * BLOCK - 1))
            layer_block(ax, part, norm, min(BLOCK, positions))
            ax.set_ylabel("MoE layer")
        axes[0, 0].set_title(f"{data['title'][0] or condition} (seed {data['seed'][0]})", loc="left")
        shade_bar(figure, axes, norm, data, "experts a token meets in a layer")
        style.save(figure, data, out_base)


def draw_layers_et(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-fig19-token-map-layers: fan-out of one passage by layer, ET."""
    _draw_layers("et", tables, info, out_base)


def draw_layers_ec_batch(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-fig20-token-map-layers: fan-out of one passage by layer, EC with the pool of the batch."""
    _draw_layers("ec-batch", tables, info, out_base)


def draw_layers_ec_sequence(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-fig21-token-map-layers: fan-out of one passage by layer, EC with the pool of one sequence."""
    _draw_layers("ec-sequence", tables, info, out_base)
