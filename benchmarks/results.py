"""Rows of a benchmark and the file that keeps them.

A suite is a module of this package with `run(quick: bool) -> list[dict]`. A row says `suite`, `case` (the shape or the
part), `candidate` and `seconds` (median), `low` and `high` (fastest and slowest round), `rounds`; where they apply also
`flops`, `peak_share` (of the measured matrix-product peak in the same dtype), `ratio` and `against` (median over rounds
of the other's time / this one's: above 1 is faster), `error` (largest deviation from the reference that it passed).
"""

from __future__ import annotations

import statistics
from datetime import date
from pathlib import Path

from benchmarks.timing import machine
from moe_replication.files import read_json, write_json

FOLDER = Path(__file__).parents[1] / "build/benchmarks"


def row(suite: str, case: str, candidate: str, seconds: list[float], **more: object) -> dict:
    """A row from the seconds of every round."""
    return {
        "suite": suite,
        "case": case,
        "candidate": candidate,
        "seconds": statistics.median(seconds),
        "low": min(seconds),
        "high": max(seconds),
        "rounds": len(seconds),
    } | more


def keep(suite: str, rows: list[dict], folder: Path = FOLDER) -> Path:
    """Write the rows of a suite with the machine they are from; returns the file."""
    path = folder / f"{suite}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"machine": machine(), "date": date.today().isoformat(), "rows": rows})
    return path


def load(folder: Path = FOLDER) -> dict[str, dict]:
    """What `keep` wrote, by suite."""
    return {path.stem: read_json(path) for path in sorted(folder.glob("*.json"))}
