"""Runs that still train, from the lines of their log.txt; a finished run's record takes the place of its live view."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from moe_replication.config.fingerprint import is_current, training_code_version
from moe_replication.config.project import Project, Run
from moe_replication.tracking import TrackingError
from moe_replication.tracking.entries import run_entry, run_identity, run_tags
from moe_replication.tracking.store import Store, is_complete, open_store

SECONDS = 10.0  # between two looks at the logs
FRESH = 600.0  # seconds since its last line after which a log is taken for that of a run that stopped
STEP = re.compile(r"step +(\d+)/\d+ ")
VALUE = re.compile(r"\b(loss|lr|val_loss|test_accuracy|dead_experts) +(-?[\d.]+(?:e[-+]\d+)?)")
# Names in the log that the curve writes otherwise.
COLUMNS = {"loss": "train_loss", "lr": "learning_rate"}
DONE = "done:"


@dataclass
class Live:
    """A run's live view: its MLflow run, the last step stored of each metric, and when its log was read."""

    run_id: str | None = None
    last: dict[str, int] = field(default_factory=dict)
    read: float = 0.0


def log_points(text: str) -> list[tuple[str, float, int]]:
    """(metric, value, step) of every whole line of a log.txt, in order; a resumed run has steps twice."""
    points = []
    for line in text.splitlines(keepends=True):
        step = STEP.match(line)
        if step and line.endswith("\n"):
            values = VALUE.findall(line)
            points += [(f"curve/{COLUMNS.get(name, name)}", float(value), int(step[1])) for name, value in values]
    return points


def follow(project: Project, uri: str, say: Callable[[str], None]) -> None:
    """Show the losses of running runs in the store every few seconds until every run has its record.

    Values have the four digits of the log. A store that fails is a warning, and tried again on the next look.
    """
    waiting = {run: Live() for run in project.runs if not _recorded(project, run)}
    say(f"{len(waiting)} of {len(project.runs)} runs to follow into {project.scale.name}'s MLflow")
    while waiting:
        try:
            with open_store(uri, project.root / "results" / project.scale.name) as store:
                for run in list(waiting):
                    if look(store, project, run, waiting[run]):
                        del waiting[run]
        except TrackingError as error:
            say(f"warning: {error}")
        if waiting:
            time.sleep(SECONDS)


def look(store: Store, project: Project, run: Run, live: Live) -> bool:
    """Store what a run's log has gained, or its record once that is there; whether the run is finished."""
    if _recorded(project, run):
        _hand_over(store, project, run)
        return True
    log = project.root / run.folder / "log.txt"
    written = log.stat().st_mtime if log.is_file() else 0.0
    if written != live.read and time.time() - written < FRESH:
        text = log.read_text(encoding="utf-8")
        if not text.rpartition("\n")[0].rpartition("\n")[2].startswith(DONE):
            _store_points(store, project, run, live, log_points(text))
        live.read = written
    return False


def _store_points(store: Store, project: Project, run: Run, live: Live, points: list[tuple[str, float, int]]) -> None:
    """Add what is new; a run whose first line of values is still to come is shown without any."""
    experiment, identity = store.experiment(f"{run.paper}/{run.scale}"), run_identity(run.condition, run.seed)
    present = [found for found in store.runs(experiment, identity).get(identity, []) if not is_complete(found)]
    if live.run_id is None and present:  # an earlier follower's
        live.run_id, live.last = present[0].info.run_id, store.last_steps(present[0])
    reached = max((step for _, _, step in points), default=0)
    if live.run_id is not None and reached < max(live.last.values(), default=0):  # trained anew from the start
        for found in present:
            store.remove(found)
        live.run_id, live.last = None, {}
    if live.run_id is None:
        live.run_id = store.start(experiment, identity, run_tags(project, run) | {"live": "true"})
    new = {(name, step): value for name, value, step in points if step > live.last.get(name, 0)}
    store.add_points(live.run_id, [(name, value, step) for (name, step), value in new.items()])
    for name, step in new:
        live.last[name] = max(step, live.last.get(name, 0))


def _hand_over(store: Store, project: Project, run: Run) -> None:
    entry = run_entry(project, run)
    experiment = store.experiment(f"{run.paper}/{run.scale}")
    store.bring_in_line(experiment, entry, store.runs(experiment, entry.identity).get(entry.identity, []))


def _recorded(project: Project, run: Run) -> bool:
    record: Path = project.root / run.folder / "run.json"
    return is_current(record, project.condition(run).version, training_code_version())
