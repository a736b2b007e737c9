"""What the papers report, read from a data file; no plotting code holds such a number."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import yaml

from moe_replication.config.schema import parse_yaml
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


def read_paper_values(path: Path | str) -> pl.DataFrame:
    """One row per reported value (columns of SCHEMA, null where not given); BadInput names a wrong entry."""
    path = Path(path)
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such file; it lists the papers' own values that figures show") from error
    except yaml.YAMLError as error:
        raise BadInput(f"{path}: not valid YAML ({error}); mend the line it names") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path}: expected a mapping of paper to a list of values")
    rows = [_row(path, paper, n, entry) for paper, entries in content.items() for n, entry in enumerate(entries)]
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
    if isinstance(entry["value"], bool) or not isinstance(entry["value"], int | float):
        raise BadInput(f"{where}: value {entry['value']!r} is not a number; give the reported number")
    return {key: entry.get(key) for key in SCHEMA} | {"paper": paper, "value": float(entry["value"])}
