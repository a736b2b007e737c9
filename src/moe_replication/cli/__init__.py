"""`moe-replication`: the steps of the DAG, each runnable by hand.

Heavy imports live in the commands, so that `--help` and the light steps start at once.
"""

from __future__ import annotations

import errno
import sys

import typer
from rich.console import Console

from moe_replication.cli import bundles, checkpoints, gpus, pages, prepare, results, runs, why
from moe_replication.errors import BadInput, TrainingDiverged

# A full or read-only disk, a quota, missing rights: nothing wrong with the program.
DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.add_typer(prepare.commands, name="prepare")
app.add_typer(runs.commands)
app.add_typer(results.commands)
app.add_typer(pages.commands)
app.add_typer(bundles.commands)
app.add_typer(why.commands)
app.add_typer(gpus.commands)
app.add_typer(checkpoints.commands)


def main() -> None:
    """Entry point: bad input is one line on standard error and exit code 2, a diverged run or the disk exit code 1."""
    try:
        app()
    except (BadInput, TrainingDiverged) as error:
        _complain(str(error))
        sys.exit(2 if isinstance(error, BadInput) else 1)
    except OSError as error:
        if error.errno not in DISK_FAULTS:
            raise
        place = f"{error.filename}: " if error.filename else ""
        _complain(f"{place}{error.strerror}; mend the disk or its rights and run the same command again")
        sys.exit(1)


def _complain(text: str) -> None:
    # What a library says of a damaged file may take several lines.
    line = " ".join(part.strip() for part in text.splitlines() if part.strip())
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"error: {line}", markup=False)
