"""Run records, checked one by one, gathered into three tables."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from moe_replication.errors import BadInput
from moe_replication.files import atomic_path, read_json
from moe_replication.statistics.record_checks import (
    check_claims,
    check_identity,
    check_types,
    checked_metrics,
    require,
    shown,
)
from moe_replication.statistics.versions import marked_versions

FORMAT = 2
TEXT, REAL, WHOLE = pl.String, pl.Float64, pl.Int64
# Columns of runs.parquet before the metrics; other tools rely on the names and the order of the first 22.
SETTINGS = {
    "rule": TEXT,
    "top_k": WHOLE,
    "pool_tokens": WHOLE,
    "ortho_weight": REAL,
    "experts": WHOLE,
    "dataset": TEXT,
    "tiers": pl.List(WHOLE),
    "storage": TEXT,
    "expert_optimizer": TEXT,
    "recipe": TEXT,
}
# The best value on the way, for the eye alone: chosen on the data that it is measured on, so nothing tests it.
BEST = {"best_val_loss": REAL, "best_test_accuracy": REAL}
MACHINE = {
    "deterministic": pl.Boolean,
    **dict.fromkeys(("device", "cpu"), TEXT),
    **dict.fromkeys(("threads", "processes"), WHOLE),
    **dict.fromkeys(("platform", "python", "torch", "deepspeed"), TEXT),
}
# Of all attempts at a run; how they are counted stands in training/attempts.py.
COST = dict.fromkeys(("restarts", "starts", "stopped", "diverged", "failed", "killed", "other_settings"), WHOLE)
LEADING_METRICS = ("val_loss", "train_loss", "test_accuracy", "perplexity", "dead_experts")
LEADING = {
    "scale": TEXT,
    "paper": TEXT,
    "condition": TEXT,
    "seed": WHOLE,
    "run_key": TEXT,
    **dict.fromkeys(LEADING_METRICS, REAL),
    "control_number": REAL,
    "temperature": REAL,
    "entropy_weight": REAL,
    "oracle_weight": REAL,
    "balance_weight": REAL,
    "tokens": WHOLE,
    "steps": WHOLE,
    "wall_seconds": REAL,
    "tokens_per_second": REAL,
    "git_commit": TEXT,
    "training_code": TEXT,
    "imported": pl.Boolean,
    "title": TEXT,
    "rows": pl.List(TEXT),
    "task": TEXT,
    "parameters_total": WHOLE,
    "parameters_active": WHOLE,
    "epochs": REAL,
    **SETTINGS,
    "lock_sha256": TEXT,
    "data_sha256": TEXT,
    "dtype": TEXT,
    "mixed_versions": pl.Boolean,
    **BEST,
    **MACHINE,
    **COST,
}
ALL_SETTINGS = (
    *SETTINGS,
    "control_number",
    "temperature",
    "entropy_weight",
    "oracle_weight",
    "balance_weight",
)
COUNTS = ("parameters_total", "parameters_active", "tokens", "steps", "epochs")
RECORD = (
    "format",
    "run",
    "title",
    "rows",
    "task",
    "training_code",
    "lock_sha256",
    "data_sha256",
    "imported",
    "settings",
    "counts",
    "metrics",
)
IDENTITY = ("scale", "paper", "condition", "seed")
KEYS = list(IDENTITY[1:])  # of a run among those of its scale
REGISTERED = {"paper": TEXT, "claim": TEXT, "digest": TEXT, "runs": WHOLE}
CURVE_KEYS = ("step", "tokens", "epoch", "train_loss", "val_loss", "learning_rate")
EXPERT_KEYS = (
    "step",
    "epoch",
    "layer",
    "expert",
    "tier",
    "usage",
    "cutoff",
    "cutoff_deviation",
    "bias",
    "accuracy",
    "taxonomy",
)
TABLE_TYPES = {
    "step": WHOLE,
    "tokens": WHOLE,
    "layer": WHOLE,
    "expert": WHOLE,
    "tier": WHOLE,
    "taxonomy": TEXT,
}


# (paper, condition) -> title and rows.
Labels = Mapping[tuple[str, str], Mapping[str, object]]


@dataclass(frozen=True, kw_only=True)
class Record:
    """One verified run directory: its row of runs.parquet, its two tables, the digests of its paper's claims."""

    row: dict
    curve: pl.DataFrame
    experts: pl.DataFrame
    claims: dict[str, str]


def collect(directories: Iterable[Path | str], out: Path | str, labels: Labels | None = None) -> list[str]:
    """Verify the run directories and write runs, curves, experts and registered-claims (.parquet) into `out`.

    `labels` are today's title and rows of conditions, which stand above those that a record was written with.
    Returns warning lines (empty when the runs may be pooled). BadInput names a faulty file.
    """
    records = [read_record(Path(directory)) for directory in directories]
    for record in records:
        record.row.update((labels or {}).get((record.row["paper"], record.row["condition"]), {}))
    if not records:
        raise BadInput("no run directories to collect; train some runs first")
    runs = runs_table([record.row for record in records])
    runs, warnings = marked_versions(runs)
    tables = {"runs": runs, "curves": _stacked(records, "curve"), "experts": _stacked(records, "experts")}
    tables["registered-claims"] = registered_claims(records)
    for name, table in tables.items():
        content = io.BytesIO()
        table.write_parquet(content)
        with atomic_path(Path(out) / f"{name}.parquet") as path:
            path.write_bytes(content.getvalue())  # on a full disk Polars' own writing names another cause
    return warnings


def read_record(directory: Path) -> Record:
    """Read and verify one run directory; BadInput names the file at fault."""
    record, path = read_json(directory / "run.json"), directory / "run.json"
    require(record, RECORD, path)
    if record["format"] != FORMAT:
        raise BadInput(f"{path}: format = {record['format']!r}, this version reads {FORMAT}; run it again")
    require(record["run"], (*IDENTITY, "run_key"), path)
    check_identity(record["run"], path)
    require(record["settings"], ALL_SETTINGS, path)
    require(record["counts"], COUNTS, path)
    require(read_json(directory / "config.json"), ("config", "origins"), directory / "config.json")
    cost, environment = read_json(directory / "cost.json"), read_json(directory / "environment.json")
    require(cost, ("wall_seconds", "tokens_per_second", *COST), directory / "cost.json")
    require(environment, ("git_commit", "dtype", "claims", *MACHINE), directory / "environment.json")
    metrics = checked_metrics(record["metrics"], set(LEADING) - set(LEADING_METRICS), path)
    of_run = {**record, **record["settings"], **record["counts"], **record["run"]}
    for content, name in ((of_run, "run.json"), (cost, "cost.json"), (environment, "environment.json")):
        check_types(content, LEADING, directory / name)
    found = {**environment, **cost, **of_run}
    check_claims(environment["claims"], directory / "environment.json")
    curve = _read_table(directory / "curve.parquet", CURVE_KEYS)
    if curve.is_empty():
        raise BadInput(f"{directory / 'curve.parquet'}: no rows; delete {directory} and run it again")
    if curve["step"].has_nulls() or not curve["step"].is_sorted() or curve["step"].is_duplicated().any():
        raise BadInput(f"{directory / 'curve.parquet'}: steps do not rise; delete {directory} and run it again")
    row = {name: found[name] for name in LEADING if name in found} | _best(curve) | metrics
    experts = _read_table(directory / "experts.parquet", EXPERT_KEYS)
    return Record(row=row, curve=curve, experts=experts, claims=environment["claims"])


def registered_claims(records: Iterable[Record]) -> pl.DataFrame:
    """(paper, claim, digest, runs): how many runs of a paper were trained while a claim stood so."""
    counts = Counter((record.row["paper"], *entry) for record in records for entry in record.claims.items())
    return pl.DataFrame([(*key, count) for key, count in sorted(counts.items())], schema=REGISTERED, orient="row")


def runs_table(rows: list[dict]) -> pl.DataFrame:
    """One row per run, sorted by paper, condition, seed; metrics absent from a run are null."""
    extra = sorted({name for row in rows for name in row} - set(LEADING))
    table = pl.DataFrame(rows, schema=LEADING | dict.fromkeys(extra, REAL))
    if table["scale"].n_unique() > 1:
        raise BadInput(f"runs of several scales given ({', '.join(table['scale'].unique().sort())}); collect one")
    twice = table.filter(table.select(IDENTITY).is_duplicated())
    if not twice.is_empty():
        raise BadInput(f"run {shown(twice.row(0, named=True))} is listed twice; list every run directory once")
    return table.sort("paper", "condition", "seed")


def metric_columns(runs: pl.DataFrame) -> list[str]:
    """Names of the metrics in a runs table, the leading ones first."""
    return [*LEADING_METRICS, *(name for name in runs.columns if name not in LEADING)]


def read_runs(path: Path | str) -> pl.DataFrame:
    """runs.parquet; BadInput when it is missing, truncated or not a runs table."""
    return read_parquet(Path(path), tuple(LEADING))


def read_parquet(path: Path, required: Iterable[str]) -> pl.DataFrame:
    """A parquet file with at least these columns; BadInput names the file and what is wrong."""
    try:
        table = pl.read_parquet(path)
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such file; run the rule that makes it") from error
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise BadInput(f"{path}: not a readable parquet file (truncated?); delete it and run again") from error
    missing = [name for name in required if name not in table.columns]
    if missing:
        raise BadInput(f"{path}: missing column {', '.join(missing)}; delete it and run again")
    return table


def _read_table(path: Path, required: Iterable[str]) -> pl.DataFrame:
    table = read_parquet(path, required)
    types = {name: TABLE_TYPES.get(name, REAL) for name in table.columns}
    try:
        return table.cast(types)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"{path}: a column has the wrong type ({reason}); delete it and run again") from error


def _best(curve: pl.DataFrame) -> dict[str, float | None]:
    accuracy = curve["test_accuracy"].max() if "test_accuracy" in curve.columns else None
    return {"best_val_loss": curve["val_loss"].min(), "best_test_accuracy": accuracy}


def _stacked(records: list[Record], name: str) -> pl.DataFrame:
    tables = []
    for record in records:
        labels = [pl.lit(record.row[key], dtype=LEADING[key]).alias(key) for key in KEYS]
        tables.append(getattr(record, name).select(*labels, pl.all()))
    return pl.concat(tables, how="diagonal").sort("paper", "condition", "seed", maintain_order=True)
