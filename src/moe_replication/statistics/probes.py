"""The probes of all runs, stacked."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from moe_replication.config.core import CORE_FILES
from moe_replication.config.figures import PROBE_TABLES, SCAN_TABLES
from moe_replication.config.probe import METRICS_FILE, probe_folder
from moe_replication.config.project import Run
from moe_replication.errors import BadInput
from moe_replication.files import atomic_path, read_json
from moe_replication.statistics.collect import KEYS, read_parquet
from moe_replication.statistics.probe_tables import CORE_COLUMNS, REAL, SCAN_SCHEMAS, SCHEMAS, TEXT, WHOLE

CORE = "core"
STACKED = SCHEMAS | SCAN_SCHEMAS | {CORE: CORE_COLUMNS}
LABELS = {"paper": TEXT, "condition": TEXT, "seed": WHOLE, "title": TEXT, "rule": TEXT}


def collect_probes(root: Path, runs: Iterable[Run], scored: Iterable[Run], out: Path) -> None:
    """Stack the probes of `runs` and the CORE tables of `scored` into `out`/probe-{table}.parquet, and their
    scalars, one row a run, into probe-metrics.parquet. BadInput names a missing or foreign file.
    """
    scored = set(_names(scored))
    stacks = {name: [pl.DataFrame(schema=LABELS | schema)] for name, schema in STACKED.items()}
    metrics: list[dict] = []
    for run in runs:
        labels, folder = _labels(root, run), root / probe_folder(run)
        numbers = _numbers(folder / METRICS_FILE)
        wanted = SCAN_TABLES if run.config.task == "vision" else PROBE_TABLES
        if _names([run])[0] in scored:
            wanted = (*PROBE_TABLES, CORE)
            numbers[CORE] = _numbers(folder / CORE_FILES[1], (CORE,))[CORE]
        for name in wanted:
            table = _read_table(folder / f"{name}.parquet", STACKED[name])
            stacks[name].append(table.select(*_literals(labels), pl.all()))
        metrics.append({key: labels[key] for key in KEYS} | numbers)
    for name, tables in stacks.items():
        _write(pl.concat(tables), out / f"probe-{name}.parquet")
    names = sorted({name for row in metrics for name in row} - set(KEYS))
    schema = {key: LABELS[key] for key in KEYS} | dict.fromkeys(names, REAL)
    _write(pl.DataFrame(metrics, schema=schema), out / "probe-metrics.parquet")


def _names(runs: Iterable[Run]) -> list[tuple[str, str, int]]:
    return [(run.paper, run.condition, run.seed) for run in runs]


def _labels(root: Path, run: Run) -> dict[str, object]:
    path = root / run.folder / "run.json"
    record = read_json(path)
    try:
        title, rule = record["title"], record["settings"]["rule"]
    except (KeyError, TypeError) as error:
        raise BadInput(f"{path}: lacks title or settings.rule; delete {path.parent} and train it again") from error
    return {"paper": run.paper, "condition": run.condition, "seed": run.seed, "title": title, "rule": rule}


def _literals(labels: dict[str, object]) -> list[pl.Expr]:
    return [pl.lit(value, dtype=LABELS[key]).alias(key) for key, value in labels.items()]


def _read_table(path: Path, schema: dict) -> pl.DataFrame:
    table = read_parquet(path, schema).select(list(schema))
    try:
        cast = table.cast(schema)
    except pl.exceptions.PolarsError as error:
        raise BadInput(f"{path}: a column has the wrong type ({error}); delete it and probe again") from error
    # A cast may leave a nested column as it is, without a word.
    wrong = [name for name, kind in schema.items() if cast.schema[name] != kind]
    if wrong:
        raise BadInput(f"{path}: the column {wrong[0]} has the wrong type; delete it and probe again")
    return cast


def _numbers(path: Path, names: tuple[str, ...] | None = None) -> dict[str, float | None]:
    """The numbers of a JSON file, all of them or those of `names`."""
    found = read_json(path)
    chosen = {name: found.get(name) for name in names} if names else found
    for name, value in chosen.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise BadInput(f"{path}: {name} = {value!r} must be a number or null; delete it and probe again")
    return {name: None if value is None else float(value) for name, value in chosen.items()}


def _write(table: pl.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        table.write_parquet(temporary)
