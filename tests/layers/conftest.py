"""What the tests of this folder share."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Inputs that a test draws without a generator are the same in every order of tests."""
    torch.manual_seed(0)
