"""Which runs the workflow trains together: the seeds of a condition that have no current record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from moe_replication.config.fingerprint import is_current, training_code_version
from moe_replication.config.needs import data_path
from moe_replication.config.project import Project, Run

RECORD_FILES = ("run.json", "curve.parquet", "experts.parquet", "config.json", "cost.json", "environment.json")


@dataclass(frozen=True, kw_only=True)
class RunGroup:
    """Runs of one condition that one job takes together."""

    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """Unique within the project, usable as a rule's name."""
        run = self.runs[0]
        words = "_".join([run.paper, run.condition, "seed", *(str(run.seed) for run in self.runs)])
        return words.replace("-", "_").replace(".", "_")

    @property
    def title(self) -> str:
        """For people: paper, condition and seeds."""
        run = self.runs[0]
        seeds = ", ".join(str(run.seed) for run in self.runs)
        return f"{run.paper} {run.condition}, seed{'s' if len(self.runs) > 1 else ''} {seeds}"

    @property
    def records(self) -> list[str]:
        """The record of every run."""
        return [f"{run.folder}/run.json" for run in self.runs]


@dataclass(frozen=True, kw_only=True)
class Job(RunGroup):
    """Runs that one job trains; `version` is the hash of their settings."""

    version: str
    data: str

    @property
    def files(self) -> list[str]:
        """Every other file that a finished run has."""
        return [f"{run.folder}/{file}" for run in self.runs for file in RECORD_FILES[1:]]

    @property
    def processes(self) -> int:
        """Data-parallel processes of a run."""
        return self.runs[0].config.engine.world_size


def training_jobs(project: Project) -> Iterator[Job]:
    """Every run in one job: the missing seeds of a condition together, those with a current record together.

    Current runs keep a job of their own, so that new data or a mark of an interrupted job still reach them.
    """
    code = training_code_version()
    for paper in project.papers.values():
        for condition in paper.conditions.values():
            runs = [run for run in project.runs if (run.paper, run.condition) == (paper.name, condition.name)]
            current = [run for run in runs if _has_record(project, run, condition.version, code)]
            missing = [run for run in runs if run not in current]
            size = len(runs) if project.scale.seeds_together else 1
            data = str(Path(data_path(project.data_folder, condition.config), "manifest.json"))
            for group in (missing, current):
                for first in range(0, len(group), size):
                    yield Job(runs=tuple(group[first : first + size]), version=condition.version, data=data)


def _has_record(project: Project, run: Run, version: str, code: str) -> bool:
    folder = project.root / run.folder
    return all((folder / file).is_file() for file in RECORD_FILES) and is_current(folder / "run.json", version, code)
