"""Damaged checkpoints: never taken for whole; the one before is loaded and the fault said, or a BadInput names it."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given

from fuzzing import Change, Ledger, changes, drawn, fuzz_bytes
from moe_replication.errors import BadInput
from moe_replication.files import sha256_file, write_json
from moe_replication.training.checkpoint import CheckpointFolder

ENGINE = SimpleNamespace(
    dtype=torch.float32, device=torch.device("cpu"), load=lambda folder, tag: {"tag": tag}, barrier=lambda: None
)
NEWEST, OLDER = "step-00000010", "step-00000005"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two whole checkpoints."""
    for name in (OLDER, NEWEST):
        inner = tmp_path / "kept" / name
        inner.mkdir(parents=True)
        (inner / "state.pt").write_bytes(name.encode() * 50)
        hashes = {"state.pt": sha256_file(inner / "state.pt")}
        manifest = {"run_key": "mine", "step": int(name[5:]), "dtype": "torch.float32", "sha256": hashes}
        write_json(inner / "manifest.json", manifest)
    return tmp_path / "kept"


def loaded(folder: Path) -> str | None:
    """The message that refused or replaced the newest checkpoint, None where it was taken."""
    work = folder.parent / "work"
    shutil.copytree(folder, work)
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            step, extra = CheckpointFolder(work, "mine", 2).load_newest(ENGINE)
    except BadInput as error:
        return str(error)
    finally:
        shutil.rmtree(work)
    if step == 10:
        return None
    assert (step, extra) == (5, {"tag": OLDER})
    (warning,) = (str(item.message) for item in said)
    assert NEWEST in warning
    assert "falling back to the checkpoint before it" in warning
    return warning


@pytest.mark.parametrize("name", ["state.pt", "manifest.json"])
def test_other_bytes_are_not_taken_for_whole(folder, name):
    ledger = fuzz_bytes(folder / NEWEST / name, lambda: loaded(folder), 60)
    ledger.expect(len(ledger.outcomes) if name == "state.pt" else 20)


def test_a_changed_manifest_is_not_taken_for_whole(folder):
    """But for a further key, which nothing reads."""
    path, ledger = folder / NEWEST / "manifest.json", Ledger()
    tree = json.loads(path.read_bytes())

    @drawn(100)
    @given(changes(tree))
    def check(change):
        path.write_text(json.dumps(change.apply(tree)), encoding="utf-8")
        message = loaded(folder)
        ledger.note(change, message)
        if message is None:
            assert change.kind == "add" or change.value == tree["step"]

    check()
    ledger.expect(40)


def test_a_checkpoint_without_any_hash_is_not_taken_for_whole(folder):
    path = folder / NEWEST / "manifest.json"
    path.write_text(json.dumps(Change("put", ("sha256",), {}).apply(json.loads(path.read_bytes()))), encoding="utf-8")
    assert loaded(folder) is not None
