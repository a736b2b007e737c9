"""The command that removes checkpoints nobody needs any more."""

from __future__ import annotations

from typing import Annotated

import typer

from moe_replication.cli.common import Overrides, Scale, read_project, say

commands = typer.Typer()


@commands.command("clean-checkpoints")
def clean_checkpoints(
    scale: Scale = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove them; without it they are only listed.")] = False,
    overrides: Overrides = None,
) -> None:
    """List, and with --yes remove, checkpoints and snapshots of other settings, data or training code than today's.

    What a record in results/SCALE/runs names stays, and so do checkpoints of runs that are not in today's settings.
    Example: moe-replication clean-checkpoints --scale demo; moe-replication clean-checkpoints --scale demo --yes
    """
    from moe_replication.cleaning import old_checkpoints, remove_checkpoints

    found, others = old_checkpoints(read_project(scale, overrides))
    for old in found:
        say(f"{old.megabytes:>10,.1f} MB  {old.folder}, {old.run} after step {old.steps:,}")
    if yes:
        remove_checkpoints(found)
    total = f"{len(found)} folders, {sum(old.megabytes for old in found):,.1f} MB"
    hint = "; --yes removes them" if found and not yes else ""
    say(f"{'removed' if yes else 'no longer needed:'} {total}{hint}")
    if others:
        say(f"left alone: {others} folders of runs that are not in today's settings")
