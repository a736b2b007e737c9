"""What the papers report, read from a data file; no plotting code holds such a number."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from moe_replication.config.schema import read_yaml
from moe_replication.errors import BadInput

SCHEMA = {
    "paper": pl.String,
    "condition": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "label": pl.String,
    "dataset": pl.String,
    "control_number": pl.Float64,
    "epoch": pl.Int64,
    "pool_tokens": pl.Int64,
    "pool": pl.String,
    "step_a": pl.Int64,
    "step_b": pl.Int64,
    "place": pl.String,
}
REQUIRED = ("metric", "value", "label", "place")
_LARGEST = 2**63  # what a column of whole numbers holds


def read_paper_values(path: Path | str) -> pl.DataFrame:
    """One row per reported value (columns of SCHEMA, null where not given); BadInput names a wrong entry."""
    path = Path(path)
    rows = []
    for paper, entries in read_yaml(path).items():
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise BadInput(f"{path}: {paper}: expected a list of values, each a mapping of {', '.join(REQUIRED)}, ...")
        rows += [_row(path, paper, number, entry) for number, entry in enumerate(entries)]
    return pl.DataFrame(rows, schema=SCHEMA)


def reported(values: pl.DataFrame, metric: str, place: str) -> dict[str, float]:
    """Condition -> paper A's value of `metric` at the places that begin with `place` ("A, Table 1")."""
    chosen = of_metric(values, metric, place).drop_nulls("condition")
    return dict(chosen.select("condition", "value").iter_rows())


def of_metric(values: pl.DataFrame, metric: str, place: str = "A, ") -> pl.DataFrame:
    """Rows of one metric whose place begins with `place`."""
    return values.filter((pl.col("metric") == metric) & pl.col("place").str.starts_with(place))


def _row(path: Path, paper: str, number: int, entry: dict) -> dict:
    where = f"{path}: {paper}[{number}]"
    if unknown := sorted(set(entry) - set(SCHEMA)):
        raise BadInput(f"{where}: unknown key {unknown[0]!r}; known keys are {', '.join(SCHEMA)}")
    if missing := [key for key in REQUIRED if entry.get(key) is None]:
        raise BadInput(f"{where}: {missing[0]!r} is missing; every value needs {', '.join(REQUIRED)}")
    for key, kind in SCHEMA.items():
        if (value := entry.get(key)) is not None and (rule := _broken_rule(value, kind)):
            raise BadInput(f"{where}: {key} {value!r:.80} is not {rule}; give the reported {key}")
    return {key: entry.get(key) for key in SCHEMA} | {"paper": paper, "value": float(entry["value"])}


def _broken_rule(value: object, kind: pl.DataType) -> str | None:
    """What a value of a column must be and is not."""
    if kind == pl.String:
        return None if isinstance(value, str) else "text"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == pl.Int64:
        return None if number and isinstance(value, int) and abs(value) < _LARGEST else "a whole number"
    return None if number and abs(value) < _LARGEST else "a number"
