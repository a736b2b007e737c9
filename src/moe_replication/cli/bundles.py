"""Commands on result bundles: a scale's finished runs in one file, without weights and data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moe_replication.cli.common import Overrides, Scale, read_overrides, read_project, say
from moe_replication.config import load_project
from moe_replication.config.overrides import read_settings
from moe_replication.errors import named

commands = typer.Typer()


@commands.command("export")
def export_bundle(
    out: Annotated[Path, typer.Option(help="File to write, a .tar.gz.")],
    scale: Scale = None,
    overrides: Overrides = None,
) -> None:
    """Pack records, curves, probes and config/ of every finished run of a scale into one file.

    Example: moe-replication export --scale cpu --out cpu.tar.gz
    """
    from moe_replication.bundles.exporting import export_runs

    chosen = read_overrides(scale, overrides)
    project = load_project(overrides=chosen)
    manifest, unfinished = export_runs(project, read_settings(project.root, chosen), out)
    if unfinished:
        names = named(f"{run.paper} {run.condition} seed {run.seed}" for run in unfinished)
        say(f"warning: left out {len(unfinished)} runs whose record or probes are missing or not current: {names}")
    counts = manifest["counts"]
    papers = ", ".join(f"{number} runs of {paper}" for paper, number in counts["runs"].items())
    say(f"exported {papers}: {counts['files']} files, {out.stat().st_size / 2**20:.1f} MB in {out}")


@commands.command("import")
def import_bundle(
    bundle: Annotated[Path, typer.Argument(help="A file that `export` wrote.")],
    replace: Annotated[bool, typer.Option("--replace", help="Take the bundle's record where another one is.")] = False,
    into: Annotated[
        Path | None, typer.Option(help="Make a new project there, with the bundle's config/, and import into it.")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Verify a bundle and write its runs and probes into results/SCALE; the workflow takes them as done.

    Example: moe-replication import cpu.tar.gz
    """
    from moe_replication.bundles.archive import read_bundle
    from moe_replication.bundles.exporting import check_complete
    from moe_replication.bundles.importing import import_runs, make_project

    content = read_bundle(bundle)
    if into is None:
        project = read_project(content.scale, overrides)
    else:
        make_project(content, Path("."), into)
        project = load_project(into)
    for line in import_runs(project, content, replace):
        say(line)
    if into is not None:
        check_complete(project)
