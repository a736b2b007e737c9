"""What a picture shows, in words: for readers who cannot see it, and for pages that could not load it."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from moe_replication.errors import BadInput
from moe_replication.figures.style import seeds_text

SCALE = re.compile(r"\{\{\s*snakemake\.config\[\"scale\"\]\s*\}\}")
# A full stop before a lower-case word or a digit ends no sentence.
SENTENCE = re.compile(r"(?<=[.?])\s+(?=[A-Z(\"])")
# Columns that name what was measured and those that hold it, the first that the CSV has with any content.
MEASURES = ("measure", "metric", "series", "quantity", "class", "kind")
VALUES = ("value", "mean", "usage", "fanout", "ratio")
COUNTS = ("n", "seeds", "val_loss_n", "runs")
KINDS = ("source", "kind")  # columns whose entry "paper" marks the paper's own numbers
NAMED = 4  # conditions or measures are counted, not named, above this


def alt_text(root: Path, scale: str, name: str) -> str:
    """Two sentences on figure `name` of a scale: its caption's first, and what its CSV holds.

    Read below the project's `root`: workflow/report/{name}.rst and figures/{scale}/{name}.csv. BadInput where one is
    not there.
    """
    caption = _read(root / "workflow" / "report" / f"{name}.rst", "write the figure's caption there")
    data = _table(root, scale, name)
    return f"{first_sentence(caption, scale)} {_content(data, is_table='-table' in name)}"


def sample_text(root: Path, scale: str, name: str) -> str:
    """How many seeds or runs of which conditions figure `name` shows, as its CSV has it; empty where it counts none."""
    own = _own(_table(root, scale, name))
    # A column without any entry is read as text.
    counted = next((name for name in COUNTS if name in own.columns and own[name].dtype.is_numeric()), None)
    own = own if counted is None else own.filter(pl.col(counted).ne_missing(0))
    return "; ".join(part for part in (_counts(own), _conditions(own)) if part) if _counts(own) else ""


def first_sentence(caption: str, scale: str) -> str:
    """The first sentence of a caption as plain text, with its scale filled in."""
    plain = " ".join(SCALE.sub(scale, caption).replace("``", "").split())
    return SENTENCE.split(plain)[0]


def _table(root: Path, scale: str, name: str) -> pl.DataFrame:
    source = root / "figures" / scale / f"{name}.csv"
    _read(source, f"draw it with: moe-replication figure {name} --scale {scale}")
    return pl.read_csv(source, infer_schema_length=None)


def _own(data: pl.DataFrame) -> pl.DataFrame:
    """Rows that are ours, not the paper's."""
    kind = next((name for name in KINDS if name in data.columns), None)
    return data if kind is None else data.filter(pl.col(kind).ne_missing("paper"))


def _read(path: Path, remedy: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such file, and the picture's description is made from it; {remedy}") from error


def _content(data: pl.DataFrame, *, is_table: bool) -> str:
    """What the CSV holds: conditions, seeds, the range of every measure, and how many values are the paper's."""
    if data.is_empty():
        return "This scale has nothing to show here, and the picture says so."
    own = _own(data)
    conditions = _conditions(own)
    parts = [_rows(data.height)] if is_table or not conditions else []
    parts += [part for part in (conditions, _counts(own), _ranges(own)) if part]
    if of_paper := data.height - own.height:
        parts.append(f"open markers for the paper's own values ({of_paper})")
    return f"{'Table' if is_table else 'Drawn'}: {'; '.join(parts)}."


def _rows(count: int) -> str:
    return f"{count} row{'s' if count > 1 else ''}"


def _conditions(data: pl.DataFrame) -> str:
    """Conditions by name where they are few."""
    names = data["condition"].drop_nulls().unique().sort().to_list() if "condition" in data.columns else []
    if len(names) > NAMED:
        return f"{len(names)} conditions"
    return f"condition{'s' if len(names) > 1 else ''} {', '.join(names)}" if names else ""


def _counts(data: pl.DataFrame) -> str:
    """`n = 3 seeds`, counted where the CSV has a row a seed; else n as the CSV says itself."""
    if {"seed", "condition"} <= set(data.columns) and data["seed"].is_not_null().any():
        counts = data.drop_nulls("seed").group_by("condition").agg(pl.col("seed").n_unique())["seed"]
        return f"{seeds_text(counts.to_list())} seed{'s' if counts.max() > 1 else ''}"
    stated = next((name for name in COUNTS if name in data.columns), None)
    counts = data[stated].drop_nulls().to_list() if stated else []
    return seeds_text(counts) + (" runs" if stated == "runs" else "") if counts else ""


def _ranges(data: pl.DataFrame) -> str:
    """The smallest and largest value of each measure, where there are few of them."""
    value = next((name for name in VALUES if name in data.columns and data[name].dtype.is_numeric()), None)
    if value is None:
        return ""
    measure = next((name for name in MEASURES if name in data.columns), None)
    name = pl.lit("values" if value in ("value", "mean") else value) if measure is None else pl.col(measure)
    rows = data.select(name.alias("name"), pl.col(value).alias("value")).drop_nulls()
    ends = rows.group_by("name", maintain_order=True).agg(low=pl.col("value").min(), high=pl.col("value").max())
    return ", ".join(_span(*row) for row in ends.iter_rows()) if ends.height <= NAMED else ""


def _span(name: str, low: float, high: float) -> str:
    ends = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
    return f"{name.replace('_', ' ')} {ends}"
