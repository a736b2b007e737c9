"""Small projects with made-up finished runs, for the tests of bundles."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from moe_replication.bundles.exporting import export_runs
from moe_replication.config import Project, load_project
from moe_replication.config.figures import PROBE_TABLES, SCAN_TABLES
from moe_replication.config.fingerprint import training_code_version
from moe_replication.config.overrides import read_settings
from moe_replication.config.probe import probe_files, probe_folder

ROOT = Path(__file__).parents[1]
CHOSEN = {"scale": "smoke", "conditions": ["tc", "v1"], "seeds": [0, 1]}
TC0 = "runs/expert-threshold/tc/seed-0"


def finished_project(root: Path, write_run: Callable[..., Path]) -> Project:
    """Four finished runs, two of each paper, with probes that nothing looks into."""
    found = empty_project(root)
    for run in found.runs:
        version = found.condition(run).version
        record = {"config_version": version, "training_code": training_code_version()}
        write_run(found.root, run.paper, run.condition, run.seed, record=record)
        tables = PROBE_TABLES if run.paper == "expert-threshold" else SCAN_TABLES
        folder = found.root / probe_folder(run)
        folder.mkdir(parents=True)
        for file in probe_files(tables):
            (folder / file).write_text(f"{run.condition} {run.seed} {file}", encoding="utf-8")
    return found


def empty_project(root: Path) -> Project:
    """config/ and the workflow, no results; jobs of a condition."""
    for part in ("config", "workflow", "docs"):
        shutil.copytree(ROOT / part, root / part)
    shutil.copy(ROOT / "Snakefile", root)
    scale = root / "config/scales/smoke.yaml"
    scale.write_text(scale.read_text(encoding="utf-8").replace("job: paper", "job: condition"), encoding="utf-8")
    return load_project(root, CHOSEN)


def exported(project: Project, out: Path) -> dict:
    manifest, unfinished = export_runs(project, read_settings(project.root, CHOSEN), out)
    assert unfinished == []
    return manifest


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
