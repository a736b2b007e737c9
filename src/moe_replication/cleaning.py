"""Checkpoints that their run would no longer go on from, and that no record needs."""

from __future__ import annotations

import fcntl
import shutil
from dataclasses import dataclass
from pathlib import Path

from moe_replication.config.jobs import current_key
from moe_replication.config.project import Project
from moe_replication.files import read_json

# Held by whoever trains in a folder of checkpoints; it holds the name of the run.
LOCK = "lock"


@dataclass(frozen=True, kw_only=True, slots=True)
class OldCheckpoints:
    """A folder of results/{scale}/checkpoints that could go; `steps` is how far its run had come."""

    folder: Path
    run: str
    steps: int
    megabytes: float


def old_checkpoints(project: Project) -> tuple[list[OldCheckpoints], int]:
    """Folders of today's runs made with other settings, data or training code, and how many are of other runs.

    A folder stays where a record names it, whose probes need the snapshots, where its run's data are not there to
    tell, and where a process trains in it.
    """
    place = project.root / "results" / project.scale.name
    runs = {run.folder.as_posix(): run for run in project.runs}
    recorded, found, others = _recorded_keys(place), [], 0
    for folder in sorted(path for path in (place / "checkpoints").glob("*") if path.is_dir()):
        run = runs.get(_run_of(folder))
        if run is None:
            others += 1
        elif folder.name not in recorded and current_key(project, run) not in (None, folder.name):
            found.append(_described(folder))
    return [old for old in found if not _in_use(old.folder)], others


def remove_checkpoints(found: list[OldCheckpoints]) -> None:
    """Remove the folders; one that a process has begun to train in meanwhile stays."""
    for old in found:
        if not _in_use(old.folder):
            shutil.rmtree(old.folder)


def _recorded_keys(place: Path) -> set[str]:
    return {read_json(record).get("run", {}).get("run_key", "") for record in place.glob("runs/*/*/seed-*/run.json")}


def _run_of(folder: Path) -> str:
    lock = folder / LOCK
    return lock.read_text(encoding="utf-8", errors="replace") if lock.is_file() else ""


def _in_use(folder: Path) -> bool:
    with open(folder / LOCK, encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _described(folder: Path) -> OldCheckpoints:
    steps = [int(path.name.removeprefix("step-")) for path in folder.glob("step-*")]
    snapshots = [int(path.stem.removeprefix("step-")) for path in folder.glob("snapshots/step-*.pt")]
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    newest = max([*steps, *snapshots], default=0)
    return OldCheckpoints(folder=folder, run=_run_of(folder), steps=newest, megabytes=size / 1e6)
