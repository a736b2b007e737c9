"""Run records, summaries over seeds and figures, copied into MLflow. The only file that imports mlflow.

Mirroring again changes nothing: a run carries a hash of its content and a tag that is set last.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl

from moe_replication.files import read_json, sha256_file, sha256_json
from moe_replication.statistics.collect import read_record, runs_table
from moe_replication.statistics.compare import summarise
from moe_replication.tracking import TrackingError

# Read by mlflow: no usage reports, no line per run, and a dead server is given up after seconds.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import MAX_METRICS_PER_BATCH, MAX_PARAM_VAL_LENGTH, MAX_PARAMS_TAGS_PER_BATCH
from sqlalchemy.exc import SQLAlchemyError

PAGE = 200  # runs per search; one page of full runs stays small
CURVE_POINTS = 40  # per column: MLflow takes 0.1 ms a point, and curve.parquet holds them all
SQLITE_MAGIC = b"SQLite format 3\0"
COMPLETE = {"mirrored": "complete"}
FIGURE_LETTERS = {"expert-threshold": "a-", "expert-ecology": "b-"}
FIGURE_KINDS = (".png", ".pdf", ".csv")


@dataclass(frozen=True, kw_only=True)
class MirrorReport:
    """How many MLflow runs a mirroring made, replaced and left alone."""

    created: int
    updated: int
    unchanged: int


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One MLflow run to be: `identity` says what it mirrors, `content` whether that has changed."""

    paper: str
    identity: str
    tags: dict[str, str]
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    curve: pl.DataFrame | None = None
    files: tuple[Path, ...] = ()
    finished_ms: int | None = None
    seconds: float = 0.0
    content: str


def mirror(
    run_dirs: Iterable[Path | str],
    uri: str,
    scale: str,
    figures_dir: Path | str | None = None,
    extra: Mapping[str, str] | None = None,
) -> MirrorReport:
    """Bring the MLflow store at `uri` in line with finished runs, their summaries and the figures.

    One experiment `{paper}/{scale}` per paper; `extra` tags go on every run. BadInput names a faulty record,
    TrackingError a store that fails.
    """
    directories = [Path(directory) for directory in run_dirs]
    if not directories:
        return MirrorReport(created=0, updated=0, unchanged=0)
    entries = record_entries(directories, dict(extra or {}))
    if figures_dir is not None:
        papers = sorted({entry.paper for entry in entries})
        entries += figure_entries(Path(figures_dir), papers, scale, dict(extra or {}))
    counts = {"created": 0, "updated": 0, "unchanged": 0}
    with _failures_named(uri), _only_writer(uri):
        client = MlflowClient(uri)
        # A server keeps artifacts itself; any other store gets a folder beside the runs.
        folder = directories[0].absolute().parents[3] / "mlflow-artifacts"
        artifacts = None if uri.startswith("http") else folder.as_uri()
        for paper in sorted({entry.paper for entry in entries}):
            experiment = _experiment(client, f"{paper}/{scale}", artifacts)
            present = _runs_by_identity(client, experiment)
            for entry in entries:
                if entry.paper == paper:
                    counts[_bring_in_line(client, experiment, entry, present.get(entry.identity, []))] += 1
    return MirrorReport(**counts)


def default_uri(results_root: Path | str, scale: str) -> str:
    """The SQLite store of one scale."""
    return f"sqlite:///{Path(results_root) / scale / 'mlflow.db'}"


def record_entries(directories: list[Path], extra: dict[str, str]) -> list[Entry]:
    """One entry per run directory and one summary per condition; BadInput names a faulty record."""
    rows, entries = [], []
    for directory in directories:
        row = read_record(directory).row
        rows.append(row)
        entries.append(_run_entry(directory, row, extra))
    runs = runs_table(rows)
    summary = summarise(runs)
    for (paper, condition), part in summary.group_by("paper", "condition", maintain_order=True):
        entries.append(_summary_entry(paper, condition, runs["scale"][0], part, extra))
    return entries


def figure_entries(folder: Path, papers: list[str], scale: str, extra: dict[str, str]) -> list[Entry]:
    """One entry per paper that has figures in `folder`, told apart by the first letter of their names."""
    entries = []
    for paper in papers:
        prefix = FIGURE_LETTERS.get(paper, f"{paper}-")
        files = sorted(path for path in folder.glob(f"{prefix}*") if path.suffix in FIGURE_KINDS)
        if not files:
            continue
        tags = {"kind": "figures", "paper": paper, "scale": scale, "mlflow.runName": "figures", **extra}
        content = sha256_json({"tags": tags, "files": {path.name: sha256_file(path) for path in files}})
        entries.append(Entry(paper=paper, identity="figures", tags=tags, files=tuple(files), content=content))
    return entries


def _run_entry(directory: Path, row: dict, extra: dict[str, str]) -> Entry:
    record, cost = read_json(directory / "run.json"), read_json(directory / "cost.json")
    run = record["run"]
    tags = {
        "kind": "run",
        **{name: str(run[name]) for name in ("paper", "condition", "seed", "scale", "run_key")},
        "title": record["title"],
        "rows": "; ".join(record["rows"]),
        "training_code": record["training_code"],
        "imported": str(record["imported"]).lower(),
        "mlflow.runName": f"{run['condition']} seed {run['seed']}",
        "mlflow.source.git.commit": str(row["git_commit"]),
        **extra,
    }
    params = dict(_flat(read_json(directory / "config.json")["config"]))
    metrics = {**record["metrics"], **{name: cost[name] for name in ("wall_seconds", "tokens_per_second")}}
    metrics = {name: float(value) for name, value in metrics.items() if value is not None}
    curve = directory / "curve.parquet"
    content = {"tags": tags, "params": params, "metrics": metrics, "curve": sha256_file(curve)}
    return Entry(
        paper=run["paper"],
        identity=f"run/{run['condition']}/{run['seed']}",
        tags=tags,
        params=params,
        metrics=metrics,
        curve=pl.read_parquet(curve),
        finished_ms=int((directory / "run.json").stat().st_mtime * 1000),
        seconds=float(cost["wall_seconds"] or 0.0),
        content=sha256_json(content),
    )


def _summary_entry(paper: str, condition: str, scale: str, part: pl.DataFrame, extra: dict[str, str]) -> Entry:
    tags = {
        "kind": "summary",
        "paper": paper,
        "condition": condition,
        "scale": scale,
        "title": str(part["title"][0]),
        "run_key": f"summary of {condition}",
        "mlflow.runName": f"{condition} over seeds",
        **extra,
    }
    metrics = {
        f"{row['metric']}/{name}": float(row[name])
        for row in part.iter_rows(named=True)
        for name in ("mean", "sd", "ci_low", "ci_high", "n")
        if row[name] is not None
    }
    content = sha256_json({"tags": tags, "metrics": metrics})
    return Entry(paper=paper, identity=f"summary/{condition}", tags=tags, metrics=metrics, content=content)


def _bring_in_line(client: MlflowClient, experiment: str, entry: Entry, present: list[Run]) -> str:
    """Make the store hold exactly one complete run with this content; says what was done.

    The old run goes only after the new one is complete, so that an interruption never leaves none.
    """
    current = [run for run in present if COMPLETE.items() <= run.data.tags.items()]
    same = [run.info.run_id for run in current if run.data.tags.get("content") == entry.content]
    kept = same[0] if same else _written(client, experiment, entry)
    for run in present:
        if run.info.run_id != kept:
            client.delete_run(run.info.run_id)
    if same:
        return "unchanged"
    return "updated" if current else "created"


def _written(client: MlflowClient, experiment: str, entry: Entry) -> str:
    finished = entry.finished_ms
    started = None if finished is None else finished - int(entry.seconds * 1000)
    tags = {**entry.tags, "identity": entry.identity, "content": entry.content}
    run = client.create_run(experiment, start_time=started, tags=tags).info
    stamp = finished or run.start_time
    for params in _chunks([Param(*item) for item in entry.params.items()], MAX_PARAMS_TAGS_PER_BATCH):
        client.log_batch(run.run_id, params=params)
    points = [Metric(name, value, stamp, 0) for name, value in entry.metrics.items()]
    for metrics in _chunks([*points, *_curve_points(entry.curve, stamp)], MAX_METRICS_PER_BATCH):
        client.log_batch(run.run_id, metrics=metrics)
    for path in entry.files:
        client.log_artifact(run.run_id, str(path))
    client.set_terminated(run.run_id, end_time=finished)
    for name, value in COMPLETE.items():
        client.set_tag(run.run_id, name, value)
    return run.run_id


def _curve_points(curve: pl.DataFrame | None, stamp: int) -> Iterator[Metric]:
    """A curve as `curve/{column}`, apart from the final metrics: evenly spread values, both ends kept."""
    for column in [] if curve is None else curve.columns:
        if column == "step":
            continue
        measured = curve.select("step", column).drop_nulls()
        count = min(measured.height, CURVE_POINTS)
        kept = [i * (measured.height - 1) // max(count - 1, 1) for i in range(count)]
        for step, value in measured[kept].iter_rows():
            yield Metric(f"curve/{column}", float(value), stamp, step)


def _experiment(client: MlflowClient, name: str, artifacts: str | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        return client.create_experiment(name, artifact_location=artifacts)
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return found.experiment_id


def _runs_by_identity(client: MlflowClient, experiment: str) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {}
    token = None
    while True:
        page = client.search_runs([experiment], max_results=PAGE, page_token=token)
        for run in page:
            runs.setdefault(run.data.tags.get("identity", "foreign"), []).append(run)
        token = page.token
        if not token:
            return runs


def _flat(config: Mapping, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and values as text, cut to what MLflow stores."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            yield f"{prefix}{key}", text[:MAX_PARAM_VAL_LENGTH]


def _chunks(items: list, size: int) -> Iterator[list]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


@contextmanager
def _only_writer(uri: str) -> Iterator[None]:
    """For SQLite, wait until no other process mirrors into the same file."""
    if not uri.startswith("sqlite:///"):
        yield
        return
    path = Path(uri.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f"{path.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.is_file() and path.stat().st_size and not _is_sqlite(path):
            raise TrackingError(f"{path}: not an SQLite file; delete it and mirror again")
        yield


def _is_sqlite(path: Path) -> bool:
    with open(path, "rb") as handle:
        return handle.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC


@contextmanager
def _failures_named(uri: str) -> Iterator[None]:
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        login, at, _ = urlsplit(uri).netloc.rpartition("@")
        shown, cause = (text.replace(login + at, "") for text in (uri, str(error).strip().partition("\n")[0]))
        raise TrackingError(f"{shown}: {cause}; run records are untouched, mirror again later") from error
