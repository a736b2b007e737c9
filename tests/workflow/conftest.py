"""The finished project that the workflow tests start from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from scratch_project import Scratch, make_scratch


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """A small project that ran to its end; tests that change it work on a copy (`project`)."""
    scratch = make_scratch(tmp_path_factory.mktemp("finished"))
    scratch.snakemake()
    return scratch


@pytest.fixture
def project(finished: Scratch, tmp_path: Path) -> Scratch:
    """A copy of the finished project, with file times and the workflow's memory kept."""
    root = tmp_path / "project"
    shutil.copytree(finished.root, root, symlinks=True, copy_function=shutil.copy2)
    return Scratch(root)
