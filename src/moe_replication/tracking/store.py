"""One MLflow tracking store, open for writing. The only file that imports mlflow.

A run carries its identity, a hash of its content and a tag that is set last, so that writing again changes nothing
and an interrupted write is redone.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import polars as pl

from moe_replication.tracking import TrackingError
from moe_replication.tracking.entries import DataSet, Entry
from moe_replication.tracking.links import shown_uri

# Read by mlflow: no usage reports, no line per run, and a dead server is given up after seconds.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.utils import validation as limits
from sqlalchemy.exc import SQLAlchemyError

PAGE = 200  # runs per search; one page of full runs stays small
CURVE_POINTS = 40  # per column: MLflow takes 0.1 ms a point, and curve.parquet holds them all
SQLITE_MAGIC = b"SQLite format 3\0"
COMPLETE = {"mirrored": "complete"}
PARENT, NOTE = "mlflow.parentRunId", "mlflow.note.content"


class Store:
    """Runs of one store by identity; made by `open_store`."""

    def __init__(self, client: MlflowClient, artifacts: str | None) -> None:
        self.client, self.artifacts = client, artifacts

    def experiment(self, name: str) -> str:
        """Id of the experiment, made or restored when needed."""
        found = self.client.get_experiment_by_name(name)
        if found is None:
            return self.client.create_experiment(name, artifact_location=self.artifacts)
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return found.experiment_id

    def runs(self, experiment: str, identity: str | None = None) -> dict[str, list[Run]]:
        """Runs by the identity that they carry; all, or those of one."""
        found: dict[str, list[Run]] = {}
        wanted, token = f"tags.identity = '{identity}'" if identity else "", None
        while True:
            page = self.client.search_runs([experiment], wanted, max_results=PAGE, page_token=token)
            for run in page:
                found.setdefault(run.data.tags.get("identity", "foreign"), []).append(run)
            token = page.token
            if not token:
                return found

    def bring_in_line(self, experiment: str, entry: Entry, present: list[Run], parent: str = "") -> tuple[str, str]:
        """Make the store hold exactly one complete run with this content; its id, and what was done.

        The old run goes only after the new one is complete, so that an interruption never leaves none.
        """
        current = [run for run in present if is_complete(run)]
        same = [run for run in current if run.data.tags.get("content") == entry.content]
        kept = same[0].info.run_id if same else self._written(experiment, entry)
        if parent and not (same and same[0].data.tags.get(PARENT) == parent):
            self.client.set_tag(kept, PARENT, parent)
        for run in present:
            if run.info.run_id != kept:
                self.remove(run)
        if same:
            return kept, "unchanged"
        return kept, "updated" if current else "created"

    def remove(self, run: Run) -> None:
        """Delete a run, and its artifacts where they lie below the results: MLflow would keep them for ever."""
        self.client.delete_run(run.info.run_id)
        if self.artifacts is not None:
            shutil.rmtree(Path(url2pathname(urlsplit(run.info.artifact_uri).path)), ignore_errors=True)

    def describe_experiment(self, experiment: str, text: str) -> None:
        """Markdown on the experiment's page."""
        if self.client.get_experiment(experiment).tags.get(NOTE) != text:
            self.client.set_experiment_tag(experiment, NOTE, text)

    def describe_run(self, run_id: str, text: str, present: list[Run]) -> None:
        """Markdown on a run's page; `present` are the runs as they were found, to spare the write."""
        if not any(run.info.run_id == run_id and run.data.tags.get(NOTE) == text for run in present):
            self.client.set_tag(run_id, NOTE, text)

    def start(self, experiment: str, identity: str, tags: Mapping[str, str]) -> str:
        """A run that is still going; the entry with this identity replaces it."""
        return self.client.create_run(experiment, tags={**tags, "identity": identity}).info.run_id

    def add_points(self, run_id: str, points: list[tuple[str, float, int]]) -> None:
        """Log (metric, value, step) with the time of now."""
        self._log_metrics(run_id, [Metric(name, value, _now_ms(), step) for name, value, step in points])

    def last_steps(self, run: Run) -> dict[str, int]:
        """The last step of every metric of a run."""
        names = run.data.metrics
        return {name: max(p.step for p in self.client.get_metric_history(run.info.run_id, name)) for name in names}

    def _written(self, experiment: str, entry: Entry) -> str:
        finished, client = entry.finished_ms, self.client
        started = None if finished is None else finished - int(entry.seconds * 1000)
        tags = {**entry.tags, "identity": entry.identity, "content": entry.content}
        run = client.create_run(experiment, start_time=started, tags=tags).info
        stamp = finished or run.start_time
        cut = [Param(name, value[: limits.MAX_PARAM_VAL_LENGTH]) for name, value in entry.params.items()]
        for params in _chunks(cut, limits.MAX_PARAMS_TAGS_PER_BATCH):
            client.log_batch(run.run_id, params=params)
        points = [Metric(name, value, stamp, 0) for name, value in entry.metrics.items()]
        self._log_metrics(run.run_id, [*points, *_curve_points(entry.curve, stamp)])
        if entry.data_sets:
            client.log_inputs(run.run_id, datasets=[_data_input(data) for data in entry.data_sets])
        for path in entry.files:
            client.log_artifact(run.run_id, str(path))
        for name, draw in entry.drawings.items():
            client.log_figure(run.run_id, draw(), name)
        client.set_terminated(run.run_id, end_time=finished)
        for name, value in COMPLETE.items():
            client.set_tag(run.run_id, name, value)
        return run.run_id

    def _log_metrics(self, run_id: str, metrics: list[Metric]) -> None:
        for part in _chunks(metrics, limits.MAX_METRICS_PER_BATCH):
            self.client.log_batch(run_id, metrics=part)


@contextmanager
def open_store(uri: str, results: Path) -> Iterator[Store]:
    """The store at `uri`, for this writer alone; artifacts go below `results` unless a server keeps them.

    TrackingError for a store that fails, now or while it is written.
    """
    with _failures_named(uri), _only_writer(uri, results):
        folder = None if uri.startswith("http") else (results.absolute() / "mlflow-artifacts").as_uri()
        yield Store(MlflowClient(uri), folder)


def is_complete(run: Run) -> bool:
    """Whether a run was written to its end."""
    return COMPLETE.items() <= run.data.tags.items()


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


def _data_input(data: DataSet) -> DatasetInput:
    source = json.dumps({"uri": data.source})
    profile = json.dumps({"data_sha256": data.sha256})
    digest = data.sha256[:32]  # MLflow takes 36 characters; the profile has all
    found = Dataset(
        name=data.name, digest=digest, source_type="local", source=source, schema=None, profile=profile
    )  # fmt: skip
    return DatasetInput(found, [InputTag("mlflow.data.context", "training")])


def _chunks(items: list, size: int) -> Iterator[list]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _now_ms() -> int:
    return int(time.time() * 1000)


@contextmanager
def _only_writer(uri: str, results: Path) -> Iterator[None]:
    """Wait until no other process writes: beside an SQLite file, else beside the results."""
    sqlite = Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None
    place = sqlite or results / "mlflow"
    place.parent.mkdir(parents=True, exist_ok=True)
    with open(place.with_name(f"{place.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if sqlite and sqlite.is_file() and sqlite.stat().st_size and not _is_sqlite(sqlite):
            raise TrackingError(f"{sqlite}: not an SQLite file; delete it and mirror again")
        yield


def _is_sqlite(path: Path) -> bool:
    with open(path, "rb") as handle:
        return handle.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC


@contextmanager
def _failures_named(uri: str) -> Iterator[None]:
    try:
        yield
    except (MlflowException, SQLAlchemyError, ImportError, OSError) as error:
        cause = str(error).strip().partition("\n")[0].replace(uri, shown_uri(uri))
        raise TrackingError(f"{shown_uri(uri)}: {cause}; run records are untouched, mirror again later") from error
