"""A finished run's record beside its weights.

The workflow engine removes the outputs of a job that was killed before it was noted as done, or whose other runs
failed; the run then has its files back from here and no step is trained again.
"""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path

from moe_replication.config.jobs import RECORD_FILES
from moe_replication.errors import BadInput
from moe_replication.files import atomic_path, read_json, sha256_file, write_json

FOLDER = "record"
_MANIFEST = "manifest.json"


def keep_record(checkpoints: Path, run: Path) -> None:
    """Copy the finished run directory `run` into the folder of its checkpoints."""
    partial, final = checkpoints / f".{FOLDER}.partial", checkpoints / FOLDER
    for folder in (partial, final):
        shutil.rmtree(folder, ignore_errors=True)
    for name in RECORD_FILES:
        with atomic_path(partial / name) as temporary:
            shutil.copyfile(run / name, temporary)
    hashes = {name: sha256_file(partial / name) for name in RECORD_FILES}
    write_json(partial / _MANIFEST, {"sha256": hashes, "snapshots": _snapshot_sizes(checkpoints)})
    os.replace(partial, final)


def is_kept(checkpoints: Path) -> bool:
    """Whether a kept record is there, whole, and every snapshot with it; a damaged one is named."""
    folder = checkpoints / FOLDER
    if not folder.is_dir():
        return False
    try:
        manifest = read_json(folder / _MANIFEST)
        whole = all(sha256_file(folder / name) == manifest["sha256"][name] for name in RECORD_FILES)
        snapshots = manifest["snapshots"]
    except (BadInput, OSError, KeyError, TypeError):
        whole, snapshots = False, None
    if not whole:
        warnings.warn(f"{folder}: damaged, the run trains again", stacklevel=2)
        return False
    if snapshots != _snapshot_sizes(checkpoints):
        warnings.warn(f"{checkpoints}/snapshots: not as the finished run left them, it trains again", stacklevel=2)
        return False
    return True


def restore_record(checkpoints: Path, run: Path) -> None:
    """Write the kept files into the run directory, run.json last."""
    for name in sorted(RECORD_FILES, key=lambda name: name == "run.json"):
        with atomic_path(run / name) as temporary:
            shutil.copyfile(checkpoints / FOLDER / name, temporary)


def _snapshot_sizes(checkpoints: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in sorted((checkpoints / "snapshots").glob("step-*.pt"))}
