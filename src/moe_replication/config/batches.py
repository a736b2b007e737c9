"""Which runs the workflow trains together: the seeds of a condition that have no current record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from moe_replication.config.fingerprint import is_current, training_code_version
from moe_replication.config.needs import data_path
from moe_replication.config.project import Project, Run

RECORD_FILES = (
    "run.json",
    "curve.parquet",
    "experts.parquet",
    "config.json",
    "cost.json",
    "environment.json",
)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Runs of one condition that one job trains; `version` is the hash of their settings."""

    runs: tuple[Run, ...]
    version: str
    data: str

    @property
    def name(self) -> str:
        """Unique within the project, usable as a rule's name."""
        run = self.runs[0]
        words = f"{run.paper}_{run.condition}" + (f"_{run.seed}" if len(self.runs) == 1 else "")
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

    @property
    def files(self) -> list[str]:
        """Every other file that a finished run has."""
        return [f"{run.folder}/{file}" for run in self.runs for file in RECORD_FILES[1:]]

    @property
    def processes(self) -> int:
        """Data-parallel processes of a run."""
        return self.runs[0].config.engine.world_size


def batches(project: Project) -> Iterator[Batch]:
    """One batch a condition, or one a run where the scale keeps seeds apart.

    With every record current a batch holds all seeds, so that a finished project has its rules too.
    """
    code = training_code_version()
    for paper in project.papers.values():
        for condition in paper.conditions.values():
            runs = [run for run in project.runs if (run.paper, run.condition) == (paper.name, condition.name)]
            missing = [
                run for run in runs if not is_current(project.root / run.folder / "run.json", condition.version, code)
            ]
            together = missing or runs
            size = len(together) if project.scale.seeds_together else 1
            for first in range(0, len(together), size):
                data = Path(data_path(project.data_folder, condition.config), "manifest.json")
                yield Batch(runs=tuple(together[first : first + size]), version=condition.version, data=str(data))
