"""The command that says what is up to date and why the rest is not."""

from __future__ import annotations

from typing import Annotated

import typer

from moe_replication.cli.common import Form, Overrides, Scale, read_overrides, read_project, show

commands = typer.Typer()


@commands.command()
def why(
    target: Annotated[
        str | None, typer.Argument(help="File, folder, figure, condition or rule, * and ? allowed; all when left out.")
    ] = None,
    scale: Scale = None,
    form: Form = "text",
    overrides: Overrides = None,
) -> None:
    """What is up to date, stale, missing or interrupted, why, and what making it again costs; nothing runs.

    Snakemake is asked what it would run; of a run the record says which setting or code differs.
    Example: moe-replication why; moe-replication why et --scale demo; moe-replication why a-fig06-pool-size
    """
    from moe_replication.why.report import why_json, why_text
    from moe_replication.why.snakemake_plan import job_states
    from moe_replication.why.targets import find_targets

    project = read_project(scale, overrides)
    settings = read_overrides(project.scale.name, overrides)
    found = find_targets(project, job_states(project.root, settings), target)
    show(why_json(project.scale.name, found) if form == "json" else why_text(project.scale.name, found))
