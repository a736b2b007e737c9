"""What a checkpoint folder keeps and refuses; resumed runs are in test_resume, killed ones in test_kills."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from moe_replication.errors import BadInput
from moe_replication.files import sha256_file, write_json
from moe_replication.training.checkpoint import CheckpointFolder


class FakeEngine:
    """Writes and reads one file a checkpoint, as DeepSpeed would."""

    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self, state: object = "state") -> None:
        self.state = state

    def barrier(self) -> None:
        pass

    def save(self, folder, tag, extra):
        (folder / tag).mkdir(parents=True)
        torch.save({"state": self.state, "extra": extra}, folder / tag / "state.pt")

    def load(self, folder, tag):
        # DeepSpeed's own call.
        return torch.load(folder / tag / "state.pt", weights_only=False)["extra"]


class Malicious:
    """Runs a command when it is unpickled without restriction."""

    def __init__(self, mark) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


ENGINE = FakeEngine()


def checkpoints(folder, kept: int = 2, steps: tuple[int, ...] = ()) -> CheckpointFolder:
    """A folder with whole checkpoints of these steps."""
    found = CheckpointFolder(folder, "mine", kept)
    for step in steps:
        found.save(ENGINE, step, {"done": step})
    return found


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def change_manifest(folder, **changes: object) -> None:
    hashes = {"state.pt": sha256_file(folder / "state.pt")}
    manifest = {"run_key": "mine", "step": 5, "dtype": "torch.float32", "sha256": hashes}
    write_json(folder / "manifest.json", manifest | changes)


def test_newest_is_taken(tmp_path):
    assert checkpoints(tmp_path, steps=(5, 10)).load_newest(ENGINE) == (10, {"done": 10})


def test_nothing_there_starts_from_scratch(tmp_path):
    assert checkpoints(tmp_path).load_newest(ENGINE) is None


@pytest.mark.parametrize("kept", [2, 3])
def test_only_the_newest_are_kept(tmp_path, kept):
    checkpoints(tmp_path, kept, steps=(5, 10, 15, 20))
    assert names(tmp_path) == [f"step-{step:08d}" for step in (5, 10, 15, 20)][-kept:]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run_key": "other"}, "belongs to run_key other, not mine; move it away"),
        ({"dtype": "torch.bfloat16"}, "was trained in torch.bfloat16, this machine would go on in torch.float32"),
    ],
)
def test_foreign_checkpoint_is_refused(tmp_path, changes, message):
    folder = checkpoints(tmp_path, steps=(5,))
    change_manifest(tmp_path / "step-00000005", **changes)
    with pytest.raises(BadInput, match=message):
        folder.load_newest(ENGINE)


@pytest.mark.parametrize("damage", ["cut", "file gone", "no manifest", "half a manifest", "another step"])
def test_damaged_newest_falls_back_loudly_and_counts_no_longer(tmp_path, damage):
    folder = checkpoints(tmp_path, steps=(5, 10))
    newest = tmp_path / "step-00000010"
    if damage == "cut":
        os.truncate(newest / "state.pt", 20)
    elif damage == "file gone":
        (newest / "state.pt").unlink()
    elif damage == "no manifest":
        (newest / "manifest.json").unlink()
    elif damage == "half a manifest":
        write_json(newest / "manifest.json", {"run_key": "mine"})
    else:
        change_manifest(newest, step=7)
    with pytest.warns(UserWarning, match="step-00000010: .*; falling back to the checkpoint before it"):
        assert folder.load_newest(ENGINE) == (5, {"done": 5})
    assert len(folder.problems) == 1
    # Were the damaged one still among the two kept, this would leave only one that is whole.
    folder.save(ENGINE, 7, {})
    assert names(tmp_path) == ["step-00000005", "step-00000007"]


def test_all_damaged_starts_from_scratch(tmp_path):
    folder = checkpoints(tmp_path, steps=(5, 10))
    for path in tmp_path.glob("step-*/state.pt"):
        os.truncate(path, 20)
    with pytest.warns(UserWarning, match="falling back"):
        assert folder.load_newest(ENGINE) is None
    assert len(folder.problems) == 2


def test_code_in_a_checkpoint_is_refused_and_does_not_run(tmp_path):
    mark = tmp_path / "mark"
    checkpoints(tmp_path / "run").save(FakeEngine(Malicious(mark)), 5, {})
    # The attack works where loading is not restricted, so that the refusal is seen to make the difference.
    torch.load(tmp_path / "run/step-00000005/state.pt", weights_only=False)
    assert mark.is_dir()
    mark.rmdir()
    with pytest.raises(BadInput, match="step-00000005: holds code or foreign objects"):
        checkpoints(tmp_path / "run").load_newest(ENGINE)
    assert not mark.exists()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("PytorchStreamWriter failed")])
def test_full_disk_leaves_the_checkpoint_before_and_says_so(tmp_path, error):
    folder = checkpoints(tmp_path, steps=(5,))

    def save(where, tag, extra):
        (where / tag).mkdir()
        raise error

    engine = SimpleNamespace(save=save, barrier=lambda: None, dtype=torch.float32)
    with pytest.raises(BadInput, match=r"step-00000010: the checkpoint could not be written .*goes on from .*00000005"):
        folder.save(engine, 10, {})
    assert names(tmp_path) == ["step-00000005"]
    assert folder.load_newest(ENGINE) == (5, {"done": 5})


def test_removing_leaves_snapshots_and_record(tmp_path):
    folder = checkpoints(tmp_path, steps=(5, 10))
    for name in ("snapshots", "record", ".step-00000015.partial", "damaged-step-00000003"):
        (tmp_path / name).mkdir()
    folder.remove()
    assert names(tmp_path) == ["record", "snapshots"]


def test_a_run_has_one_writer_whom_the_lock_names(tmp_path):
    run = Path("results/smoke/runs/expert-threshold/et/seed-0")
    with (
        checkpoints(tmp_path).only_writer(run),
        pytest.raises(BadInput, match="another process trains this run"),
        checkpoints(tmp_path).only_writer(Path("another")),
    ):
        pass
    assert (tmp_path / "lock").read_text(encoding="utf-8") == run.as_posix()
