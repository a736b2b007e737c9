"""Settings that the layer tests change piece by piece."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from moe_replication.config import load_project
from moe_replication.config.run import RunConfig


@pytest.fixture(scope="session")
def smoke() -> dict[str, RunConfig]:
    """Resolved settings of every condition of the smoke scale, by condition."""
    project = load_project(root=Path(__file__).parents[2], overrides={"scale": "smoke"})
    return {run.condition: run.config for run in project.runs}


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Inputs that a test draws without a generator are the same in every order of tests."""
    torch.manual_seed(0)
