"""What a run record must hold before it is gathered with others; each fault is a BadInput that names the file."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import polars as pl

from moe_replication.errors import BadInput

# Columns without which a row says nothing; the others may be null.
NEVER_NULL = (
    "run_key", "title", "rows", "task", "training_code", "lock_sha256", "data_sha256", "imported", "parameters_total",
    "parameters_active", "tokens", "steps", "wall_seconds", "restarts", "starts", "stopped", "diverged", "failed",
    "killed", "other_settings",
    "deterministic", "device", "threads", "processes",
)  # fmt: skip
_LARGEST_WHOLE = 2**63 - 1
_LONGEST_VALUE = 80


def require(mapping: object, keys: Iterable[str], path: Path) -> None:
    """Refuse what is no mapping or lacks one of the keys."""
    missing = [key for key in keys if not isinstance(mapping, dict) or key not in mapping]
    if missing:
        raise BadInput(f"{path}: missing {', '.join(missing)}; delete {path.parent} and run it again")


def check_identity(run: dict, path: Path) -> None:
    """Refuse a record that lies in the folder of another run, or whose run_key is no name of a folder."""
    if not re.fullmatch(r"[0-9a-f]{16}", str(run["run_key"])):
        raise BadInput(f"{path}: run_key = {run['run_key']!r} must be 16 hex digits; delete it and run it again")
    place = path.absolute().parent
    condition, paper, runs, scale = place.parent, place.parents[1], place.parents[2], place.parents[3]
    expected = (scale.name, paper.name, condition.name, place.name)
    found = (run["scale"], run["paper"], run["condition"], f"seed-{run['seed']}")
    if runs.name != "runs" or expected != found:
        raise BadInput(f"{path}: is the record of {shown(run)}, which does not match its folder; move it or run again")


def check_types(found: Mapping[str, object], columns: Mapping[str, pl.DataType], path: Path) -> None:
    """Refuse a value that its column of runs.parquet cannot hold, before it is lost among those of other runs."""
    for name in (name for name in columns if name in found):
        value, kind = found[name], columns[name]
        if value is None:
            fits = name not in NEVER_NULL
        elif isinstance(kind, pl.List):
            fits = isinstance(value, list) and all(_holds(kind.inner, item) for item in value)
        else:
            fits = _holds(kind, value)
        if not fits:
            given = repr(value)[:_LONGEST_VALUE]
            raise BadInput(f"{path}: {name} = {given} must be {kind}; delete {path.parent} and run it again")


def check_claims(claims: object, path: Path) -> None:
    """Refuse anything but claim ids with their digests."""
    digests = claims.values() if isinstance(claims, dict) else [None]
    if not all(isinstance(digest, str) for digest in digests):
        raise BadInput(f"{path}: claims must map ids to digests; delete {path.parent} and run it again")


def checked_metrics(metrics: object, reserved: Collection[str], path: Path) -> dict[str, float | None]:
    """Metrics by name; refused where one is no finite number, or has the name of one of the `reserved` columns."""
    if not isinstance(metrics, dict):
        raise BadInput(f"{path}: metrics must be a mapping of names to numbers; delete {path.parent} and run it again")
    for name, value in metrics.items():
        if value is not None and not _holds(pl.Float64, value):
            raise BadInput(
                f"{path}: metrics.{name} = {repr(value)[:_LONGEST_VALUE]} must be a finite number or null; run it again"
            )
        if name in reserved:
            raise BadInput(f"{path}: metrics.{name} has the name of another column of runs.parquet; rename it")
    return {name: None if value is None else float(value) for name, value in metrics.items()}


def shown(run: Mapping[str, object]) -> str:
    """A run's name in a message."""
    words = f"{run['scale']} {run['paper']} {run['condition']} seed {run['seed']}"
    return " ".join(words.split())  # a foreign name may hold line breaks


def _holds(kind: pl.DataType, value: object) -> bool:
    if kind in (pl.Int64, pl.Float64):
        whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST_WHOLE
        return whole or (kind == pl.Float64 and isinstance(value, float) and math.isfinite(value))
    return (kind == pl.String and isinstance(value, str)) or (kind == pl.Boolean and isinstance(value, bool))
