"""Runs of the cpu scale and their data, kept in build/benchmarks/data between calls."""

from __future__ import annotations

from pathlib import Path

from benchmarks import results
from moe_replication.config import Project, load_project
from moe_replication.config.needs import data_name, data_path, parse_token_name
from moe_replication.config.project import Run
from moe_replication.config.schema import read_yaml
from moe_replication.data import prepare

ROOT = Path(__file__).parents[1]
DATA = results.FOLDER / "data"
CORPUS = DATA / "corpora/embedded"
SCALE = "cpu"


def cpu_run(condition: str) -> tuple[Project, Run]:
    """A condition's first run at the cpu scale, and the project it belongs to."""
    project = load_project(ROOT, {"scale": SCALE})
    return project, next(run for run in project.runs if run.condition == condition and run.seed == 0)


def prepared(project: Project, run: Run) -> Path:
    """The run's data, made from the installed packages where it is not there yet."""
    folder = data_path(str(DATA), run.config)
    if not (folder / "manifest.json").exists():
        if run.config.task == "vision":
            prepare.prepare_images(folder, run.config.data.set, project.roots)
        else:
            source, settings = parse_token_name(data_name(run.config))
            prepare.prepare_tokens(folder, source, settings, corpus(), project.roots)
    return folder


def corpus() -> Path:
    """The embedded corpus, made where it is not there yet."""
    if not (CORPUS / "manifest.json").exists():
        prepare.prepare_corpus(CORPUS, read_yaml(ROOT / "config/corpora/embedded.yaml"))
    return CORPUS
