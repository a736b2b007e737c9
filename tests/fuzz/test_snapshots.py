"""Damaged weights of a finished run: the probe refuses them with a line that names the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fuzzing import fuzz_bytes, outcome
from moe_replication.config import load_project
from moe_replication.evaluation.checkpoints import load_language_model
from moe_replication.models.gpt import GPT

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run():
    chosen = {"scale": "smoke", "papers": ["expert-threshold"], "conditions": ["et"]}
    return load_project(ROOT, chosen).runs[0]


def test_damaged_weights_are_refused_or_harmless(tmp_path, run):
    """torch verifies a checksum of every part of the file; what it does not cover carries nothing."""
    model, path = GPT(run.config), tmp_path / "step-00000001.pt"
    states = [layer.state.state_dict() for layer in model.moe_layers()]
    torch.save({"model": model.state_dict(), "task": {"routing": states, "silence": None}}, path)
    ledger = fuzz_bytes(path, lambda: outcome(lambda: load_language_model(run, path), tmp_path), 50)
    assert all(path.name in message for message in ledger.outcomes.values() if message)
    ledger.expect(30)


@pytest.mark.parametrize(
    "saved", [{}, [], {"model": {}}, {"model": 1, "task": {}}, {"model": {}, "task": {"routing": []}}]
)
def test_weights_of_something_else_are_refused(tmp_path, run, saved):
    torch.save(saved, tmp_path / "step-00000001.pt")
    message = outcome(lambda: load_language_model(run, tmp_path / "step-00000001.pt"), tmp_path)
    assert "holds no weights of this run" in message
