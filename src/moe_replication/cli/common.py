"""What the commands share: options, the project they speak of, and how they print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console, RenderableType

from moe_replication.config import Project, load_project
from moe_replication.config.fingerprint import is_current, training_code_version
from moe_replication.config.overrides import inherited_overrides, parse_overrides
from moe_replication.config.project import Run, parse_run_path
from moe_replication.errors import BadInput

Scale = Annotated[str | None, typer.Option(help="A file in config/scales/; config.yaml's scale when left out.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override of config.yaml, for example data.roots.cifar10=/data/cifar10."),
]
Form = Annotated[Literal["text", "json"], typer.Option("--format", help="For people, or for other tools.")]
RunFolders = Annotated[list[str], typer.Argument(help="Run directories: results/SCALE/runs/PAPER/CONDITION/seed-N.")]


def read_overrides(scale: str | None, overrides: list[str] | None) -> dict:
    """What is laid over config.yaml: the workflow's overrides, then those of the command line, then its scale."""
    settings = parse_overrides([*inherited_overrides(), *(overrides or [])])
    return settings | ({"scale": scale} if scale else {})


def read_project(scale: str | None, overrides: list[str] | None) -> Project:
    """The project with all overrides laid over config.yaml."""
    return load_project(overrides=read_overrides(scale, overrides))


def chosen_runs(paths: list[str], overrides: list[str] | None) -> tuple[Project, list[Run]]:
    """Project and runs that run directories name; BadInput for runs of several scales."""
    names = [parse_run_path(path) for path in paths]
    scales = sorted({name.scale for name in names})
    if len(scales) > 1:
        raise BadInput(f"runs of the scales {', '.join(scales)}: give runs of one scale at a time")
    project = read_project(names[0].scale, overrides)
    return project, [project.run(name.paper, name.condition, name.seed) for name in names]


def check_current(project: Project, run: Run) -> None:
    """Refuse a record that is there but was made from other settings or code; a missing one is named by its reader.

    Of an imported record only the settings count.
    """
    record = run.folder / "run.json"
    if record.exists() and not is_current(record, project.condition(run).version, training_code_version()):
        raise BadInput(
            f"{record}: made from other settings or training code than today's;"
            f" train it again: rm {record}, then make replicate"
        )


def results_folder(project: Project) -> Path:
    """Where the scale's tables are, relative to the project's root."""
    return Path("results", project.scale.name)


def show(content: RenderableType | dict | list) -> None:
    """JSON as it is; tables as wide as the terminal, at least 120 columns."""
    if isinstance(content, dict | list):
        typer.echo(json.dumps(content, indent=1, ensure_ascii=False))
        return
    console = Console(highlight=False, markup=False)
    Console(highlight=False, markup=False, width=max(console.width, 120)).print(content)


def say(text: str) -> None:
    """One line, however wide the terminal."""
    Console(soft_wrap=True, highlight=False).print(text, markup=False)
