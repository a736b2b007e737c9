"""Versions of what decides a run's numbers: its settings, the training code, the lock file."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import moe_replication
from moe_replication.config.syntax import dumped
from moe_replication.errors import BadInput
from moe_replication.files import read_json, sha256_file, sha256_json

PACKAGE = Path(moe_replication.__file__).parent
# Editing anything else (figures, statistics, tracking, the command line) never trains again.
TRAINING_CODE = (
    "routing", "layers", "models", "ecology", "training", "seeding.py", "distributed.py",
    "data/batches.py", "data/shards.py", "data/images.py", "data/image_input.py", "config/sections.py", "config/run.py",
)  # fmt: skip


def training_code_version() -> str:
    """Version of everything that decides a run's numbers."""
    return code_version(*TRAINING_CODE)


@functools.cache
def code_version(*entries: str, package: Path = PACKAGE) -> str:
    """Hash of the syntax trees of files and folders: comments, docstrings and layout do not count."""
    digest = hashlib.sha256()
    for entry in entries:
        path = package / entry
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.relative_to(package).as_posix().encode())
            digest.update(dumped(file))
    return digest.hexdigest()[:12]


def config_version(values: dict) -> str:
    """Hash of a run's resolved settings."""
    return sha256_json(values)[:16]


def is_current(record: Path, config: str, code: str) -> bool:
    """Whether a run record exists and was made from these versions of settings and training code.

    An imported one counts whatever code trained it: nobody here can train it again with that code.
    """
    try:
        found = read_json(record)
    except BadInput:
        return False
    return found.get("config_version") == config and (
        found.get("imported") is True or found.get("training_code") == code
    )


def lock_version(root: Path) -> str:
    """SHA-256 of the lock file that the environment is installed from."""
    return sha256_file(root / "requirements.lock")


def run_key(name: tuple[str, str, str, int], values: dict, data_sha256: str, training_code: str) -> str:
    """Identity of a run and its numbers: (scale, paper, condition, seed), settings, data, training code."""
    return sha256_json([*name, values, data_sha256, training_code])[:16]
