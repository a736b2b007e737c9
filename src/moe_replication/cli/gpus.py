"""The command that shows who has which GPU of this machine."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from moe_replication.cli.common import Form, say, show
from moe_replication.scheduling.devices import usable_devices
from moe_replication.scheduling.lease import LeaseFolder
from moe_replication.scheduling.settings import scheduling_settings

commands = typer.Typer()


@commands.command()
def gpus(form: Form = "text") -> None:
    """GPUs of this machine and the jobs that hold them, with the memory that each declared.

    Example: moe-replication gpus --format json
    """
    settings = scheduling_settings(Path()).lease
    folder = LeaseFolder(settings.folder, settings.memory_share)
    rows = [
        {
            "uuid": device.uuid,
            "memory_mb": device.memory_mb,
            "holds": [{"pid": hold.pid, "memory_mb": hold.memory_mb or None} for hold in folder.holds(device)],
        }
        for device in usable_devices(os.environ) or []
    ]
    if form == "json":
        show(rows)
        return
    for row in rows:
        held = ", ".join(f"{hold['memory_mb'] or 'all'} MB by process {hold['pid']}" for hold in row["holds"])
        say(f"{row['uuid']}  {row['memory_mb']} MB  {held or 'free'}")
    if not rows:
        say("no GPU can be used here")
