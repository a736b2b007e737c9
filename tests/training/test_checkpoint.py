"""What a checkpoint folder refuses; whole, damaged and resumed ones are in test_resume."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from moe_replication.errors import BadInput
from moe_replication.files import sha256_file, write_json
from moe_replication.training.checkpoint import CheckpointFolder

ENGINE = SimpleNamespace(dtype=torch.float32, load=lambda folder, tag: {"tag": tag}, barrier=lambda: None)


def _checkpoint(folder, step: int, **changes: object) -> None:
    inner = folder / f"step-{step:08d}"
    inner.mkdir(parents=True)
    (inner / "state.pt").write_bytes(b"state")
    hashes = {"state.pt": sha256_file(inner / "state.pt")}
    manifest = {"run_key": "mine", "step": step, "dtype": "torch.float32", "sha256": hashes}
    write_json(inner / "manifest.json", manifest | changes)


def test_newest_is_taken(tmp_path):
    for step in (5, 10):
        _checkpoint(tmp_path, step)
    assert CheckpointFolder(tmp_path, "mine").load_newest(ENGINE) == (10, {"tag": "step-00000010"})


def test_nothing_there_starts_from_scratch(tmp_path):
    assert CheckpointFolder(tmp_path, "mine").load_newest(ENGINE) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run_key": "other"}, "belongs to run_key other, not mine; move it away"),
        ({"dtype": "torch.bfloat16"}, "was trained in torch.bfloat16, this machine would go on in torch.float32"),
    ],
)
def test_foreign_checkpoint_is_refused(tmp_path, changes, message):
    _checkpoint(tmp_path, 5, **changes)
    with pytest.raises(BadInput, match=message):
        CheckpointFolder(tmp_path, "mine").load_newest(ENGINE)


def test_damaged_newest_falls_back_loudly(tmp_path):
    for step in (5, 10):
        _checkpoint(tmp_path, step)
    (tmp_path / "step-00000010/state.pt").write_bytes(b"stat")
    with pytest.warns(UserWarning, match="state.pt is missing or does not match its hash; falling back"):
        assert CheckpointFolder(tmp_path, "mine").load_newest(ENGINE) == (5, {"tag": "step-00000005"})


def test_a_run_has_one_writer(tmp_path):
    with (
        CheckpointFolder(tmp_path, "mine").only_writer(),
        pytest.raises(BadInput, match="another process trains this run"),
        CheckpointFolder(tmp_path, "mine").only_writer(),
    ):
        pass
