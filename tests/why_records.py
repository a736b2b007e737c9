"""Made-up records and jobs of training, for the tests of `why`."""

from __future__ import annotations

from pathlib import Path

from moe_replication.config.fingerprint import training_code_version
from moe_replication.config.jobs import RECORD_FILES
from moe_replication.config.project import Project, Run
from moe_replication.files import write_json
from moe_replication.why.snakemake_plan import JobState


def finish(project: Project, run: Run, seconds: float = 2.0, **record: object) -> Path:
    """Write a record of today's settings and code; `record` replaces entries of run.json."""
    folder, condition = project.root / run.folder, project.condition(run)
    folder.mkdir(parents=True, exist_ok=True)
    for file in RECORD_FILES:
        (folder / file).write_text("{}", encoding="utf-8")
    write_json(folder / "config.json", {"config": condition.values, "origins": {}})
    write_json(folder / "cost.json", {"wall_seconds": seconds})
    found = {"config_version": condition.version, "training_code": training_code_version(), "counts": {"steps": 10}}
    write_json(folder / "run.json", found | record)
    return folder


def tc(project: Project, seed: int = 0) -> Run:
    return project.run("expert-threshold", "tc", seed)


def train_job(project: Project, *runs: Run, planned: bool) -> JobState:
    outputs = tuple(f"{run.folder}/{file}" for run in runs for file in RECORD_FILES)
    missing = tuple(file for file in outputs if not (project.root / file).exists())
    rule = f"train_{runs[0].condition}_{runs[0].seed}"
    return JobState(rule=rule, title="train", outputs=outputs, planned=planned, missing=missing)
