"""A finished run's record is kept beside its weights and comes back whole or not at all."""

from __future__ import annotations

import pytest

from moe_replication.config.jobs import RECORD_FILES
from moe_replication.training.kept_record import is_kept, keep_record, restore_record


@pytest.fixture
def kept(tmp_path):
    """(checkpoints, run): a finished run whose record is kept."""
    checkpoints, run = tmp_path / "checkpoints", tmp_path / "run"
    (checkpoints / "snapshots").mkdir(parents=True)
    (checkpoints / "snapshots/step-00000010.pt").write_bytes(b"weights")
    run.mkdir()
    for name in RECORD_FILES:
        (run / name).write_text(name, encoding="utf-8")
    keep_record(checkpoints, run)
    return checkpoints, run


def test_removed_files_come_back(kept):
    checkpoints, run = kept
    for name in RECORD_FILES:
        (run / name).unlink()
    assert is_kept(checkpoints)
    restore_record(checkpoints, run)
    assert {path.name: path.read_text(encoding="utf-8") for path in run.iterdir()} == {n: n for n in RECORD_FILES}


def test_nothing_kept(tmp_path):
    assert not is_kept(tmp_path)


def test_a_record_kept_twice_is_the_second(kept):
    checkpoints, run = kept
    (run / "run.json").write_text("second", encoding="utf-8")
    keep_record(checkpoints, run)
    assert is_kept(checkpoints)
    assert (checkpoints / "record/run.json").read_text(encoding="utf-8") == "second"


@pytest.mark.parametrize("name", ["run.json", "curve.parquet", "manifest.json"])
def test_damaged_record_trains_again(kept, name):
    (kept[0] / "record" / name).write_text("{}", encoding="utf-8")
    with pytest.warns(UserWarning, match="damaged, the run trains again"):
        assert not is_kept(kept[0])


@pytest.mark.parametrize("content", [None, b"weight"])
def test_weights_that_are_gone_or_cut_train_again(kept, content):
    snapshot = kept[0] / "snapshots/step-00000010.pt"
    snapshot.unlink()
    if content:
        snapshot.write_bytes(content)
    with pytest.warns(UserWarning, match="not as the finished run left them"):
        assert not is_kept(kept[0])
