"""Which runs the workflow takes together in one process, to train or to probe them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from moe_replication.config.fingerprint import is_current, run_key, training_code_version
from moe_replication.config.needs import data_path
from moe_replication.config.project import Project, Run
from moe_replication.errors import BadInput
from moe_replication.files import read_json, sha256_json

RECORD_FILES = ("run.json", "curve.parquet", "experts.parquet", "config.json", "cost.json", "environment.json")


@dataclass(frozen=True, kw_only=True)
class RunGroup:
    """Runs of one paper and task that one job takes together."""

    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """Unique within the project, usable as a rule's name."""
        run, conditions = self.runs[0], self._conditions
        one = [run.condition, "seed", *(str(run.seed) for run in self.runs)]
        words = "_".join([run.paper, *(one if len(conditions) == 1 else [run.config.task])])
        return words.replace("-", "_").replace(".", "_")

    @property
    def title(self) -> str:
        """For people: paper, and condition and seeds or their number."""
        run, conditions = self.runs[0], self._conditions
        if len(conditions) > 1:
            return f"{run.paper}, {len(self.runs)} runs of {len(conditions)} conditions"
        seeds = ", ".join(str(run.seed) for run in self.runs)
        return f"{run.paper} {run.condition}, seed{'s' if len(self.runs) > 1 else ''} {seeds}"

    @property
    def _conditions(self) -> list[str]:
        return list(dict.fromkeys(run.condition for run in self.runs))

    @property
    def records(self) -> list[str]:
        """The record of every run."""
        return [f"{run.folder}/run.json" for run in self.runs]


@dataclass(frozen=True, kw_only=True)
class Job(RunGroup):
    """Runs that one job trains; `version` is the hash of their settings, `data` what they read."""

    version: str
    data: tuple[str, ...]

    @property
    def files(self) -> list[str]:
        """Every other file that a finished run has."""
        return [f"{run.folder}/{file}" for run in self.runs for file in RECORD_FILES[1:]]

    @property
    def processes(self) -> int:
        """Data-parallel processes of a run."""
        return self.runs[0].config.engine.world_size


def training_jobs(project: Project) -> Iterator[Job]:
    """Every run in one job of the size that the scale's `job` says.

    Of a condition, the seeds without a current record are a job of their own, and current ones another: new data
    or the mark of an interrupted job still reach them. All runs of a paper and task are one job whatever their records.
    Imported runs are in no job.
    """
    for paper in project.papers.values():
        runs = [run for run in project.runs if run.paper == paper.name]
        if project.scale.job == "paper":
            sizes = {run.config.engine.world_size for run in runs}
            if len(sizes) > 1:
                raise BadInput(
                    f"scale {project.scale.name}: job = paper needs one engine.world_size, {paper.name} has"
                    f" {sorted(sizes)}; use job = condition"
                )
            for task in ("language", "vision"):
                of_task = [run for run in runs if run.config.task == task]
                yield from (_job(project, part) for part in job_parts(project, of_task))
            continue
        for condition in paper.conditions:
            seeds = [run for run in runs if run.condition == condition]
            current = {run.seed for run in seeds if has_record(project, run)}
            for is_there in (False, True):
                group = [run for run in seeds if (run.seed in current) is is_there]
                yield from (_job(project, part) for part in job_parts(project, group))


def job_parts(project: Project, runs: Sequence[Run]) -> Iterator[tuple[Run, ...]]:
    """Runs of a condition, or of a paper and task, cut into what one job takes.

    Imported runs are done: their files are sources, which no rule makes, so neither file times nor the workflow's
    memory of how they came about can start a job whose data or weights are not here.
    """
    local = [run for run in runs if not is_imported(project, run)]
    size = 1 if project.scale.job == "run" else max(1, len(local))
    for first in range(0, len(local), size):
        yield tuple(local[first : first + size])


def has_record(project: Project, run: Run) -> bool:
    """Whether every file of the run is there and its record is current."""
    folder = project.root / run.folder
    # Files first: where there are none, as in a plan of hundreds of runs, their settings need not be hashed.
    return all((folder / file).is_file() for file in RECORD_FILES) and is_current(
        folder / "run.json", project.condition(run).version, training_code_version()
    )


def is_imported(project: Project, run: Run) -> bool:
    """Whether the run came whole from a bundle and was made from today's settings."""
    return has_record(project, run) and read_json(project.root / run.folder / "run.json").get("imported") is True


def current_key(project: Project, run: Run) -> str | None:
    """The run_key that the run would train under; None where its data are not there to tell."""
    manifest = project.root / data_path(project.data_folder, run.config) / "manifest.json"
    if not manifest.is_file():
        return None
    name = (run.scale, run.paper, run.condition, run.seed)
    return run_key(name, project.condition(run).values, sha256_json(read_json(manifest)), training_code_version())


def settings_version(project: Project, runs: Sequence[Run]) -> str:
    """Hash of the settings of a job's runs: that of their condition, or of all their conditions."""
    versions = list(dict.fromkeys(project.condition(run).version for run in runs))
    return versions[0] if len(versions) == 1 else sha256_json(versions)[:16]


def _job(project: Project, runs: Sequence[Run]) -> Job:
    data = {str(Path(data_path(project.data_folder, run.config), "manifest.json")): None for run in runs}
    return Job(runs=tuple(runs), version=settings_version(project, runs), data=tuple(data))
