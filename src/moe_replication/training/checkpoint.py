"""Checkpoints that are whole or absent: written aside, hashed, fsynced, renamed."""

from __future__ import annotations

import fcntl
import os
import pickle
import pkgutil
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from moe_replication.cleaning import LOCK
from moe_replication.distributed import mean_over_ranks, rank, world_size
from moe_replication.errors import BadInput
from moe_replication.files import atomic_path, read_json, sha256_file, write_json
from moe_replication.training.engine import Engine
from moe_replication.training.task import Task

_MANIFEST = "manifest.json"
# What DeepSpeed puts into its files beside tensors and plain values; any other class is refused.
_CLASSES = (
    "deepspeed.utils.tensor_fragment:fragment_address",
    "deepspeed.runtime.fp16.loss_scaler:LossScaler",
    "deepspeed.runtime.zero.config:ZeroStageEnum",
)
_TENSORS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


class CheckpointFolder:
    """Checkpoints of one run: results/{scale}/checkpoints/{run_key}/step-{n}, of which the newest `kept` stay."""

    def __init__(self, folder: Path, run_key: str, kept: int) -> None:
        self.folder, self.run_key, self.kept = folder, run_key, kept
        self.problems: list[str] = []

    @contextmanager
    def only_writer(self, run: Path) -> Iterator[None]:
        """Hold the lock of `run`, which it names; BadInput when another process has it. It goes with the process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / LOCK, "a", encoding="utf-8") as handle:
            if rank() == 0:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise BadInput(f"{self.folder}: another process trains this run; wait for it or stop it") from error
                handle.truncate(0)
                handle.write(run.as_posix())
                handle.flush()
            yield

    def save(self, engine: Engine, step: int, extra: dict) -> None:
        """Write the state after `step` steps and drop all but the newest few; BadInput where the disk refuses."""
        partial, final = self.folder / f".step-{step:08d}.partial", self.folder / f"step-{step:08d}"
        if rank() == 0:
            self._drop(".step-*.partial")
        engine.barrier()
        try:
            engine.save(self.folder, partial.name, extra)
            engine.barrier()
            if rank() == 0:
                self._publish(partial, final, step, str(engine.dtype))
        except (OSError, RuntimeError) as error:  # torch says RuntimeError when the disk is full
            shutil.rmtree(partial, ignore_errors=True)
            raise BadInput(
                f"{final}: the checkpoint could not be written ({error}); mend the disk or its rights and run again:"
                f" training goes on from {self.newest()}"
            ) from error
        engine.barrier()

    def load_newest(self, engine: Engine) -> tuple[int, dict] | None:
        """Restore the newest whole checkpoint; a damaged one is named, set aside, and the one before it taken."""
        # One process decides: another's folder may still show what the first has set aside.
        chosen = float(self._newest_whole(str(engine.dtype))) if rank() == 0 else 0.0
        total = mean_over_ranks(torch.tensor(chosen, dtype=torch.float64, device=engine.device)) * world_size()
        step = round(total.item())
        return (step, self._load(engine, f"step-{step:08d}")) if step else None

    def newest(self) -> str:
        """For messages: the newest checkpoint, or that there is none."""
        present = self._present()
        return str(present[-1]) if present else f"the start, {self.folder} has no checkpoint yet"

    def remove(self) -> None:
        """Drop every resumable state of a finished run."""
        if rank() == 0:
            self._drop("step-*", ".step-*.partial", "damaged-*")
            for file in self.folder.glob("zero_to_*.py"):  # DeepSpeed's own tools
                file.unlink(missing_ok=True)

    def _publish(self, partial: Path, final: Path, step: int, dtype: str) -> None:
        hashes = {file.name: sha256_file(file) for file in sorted(partial.iterdir())}
        for file in partial.iterdir():
            _fsync(file)
        write_json(partial / _MANIFEST, {"run_key": self.run_key, "step": step, "dtype": dtype, "sha256": hashes})
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)
        _fsync(self.folder)
        self._drop("damaged-*")
        for old in self._present()[: -self.kept]:
            shutil.rmtree(old)

    def _newest_whole(self, dtype: str) -> int:
        """Step of the newest whole checkpoint, 0 for none."""
        for folder in reversed(self._present()):
            problem = self._problem(folder, dtype)
            if problem is None:
                return int(folder.name.removeprefix("step-"))
            aside = folder.with_name(f"damaged-{folder.name}")
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(folder, aside)
            self.problems.append(f"{folder}: {problem}; falling back to the checkpoint before it")
            warnings.warn(self.problems[-1], stacklevel=3)
        return 0

    def _problem(self, folder: Path, dtype: str) -> str | None:
        """What is damaged, None where nothing is; BadInput for a checkpoint of other settings or hardware."""
        try:
            manifest = read_json(folder / _MANIFEST)
            run_key, step, made, hashes = (manifest[name] for name in ("run_key", "step", "dtype", "sha256"))
            damaged = [name for name, expected in hashes.items() if not _has_hash(folder / name, expected)]
        except BadInput as error:
            return str(error)
        except (KeyError, AttributeError, TypeError):
            return f"{_MANIFEST} is incomplete"
        if run_key != self.run_key:
            raise BadInput(
                f"{folder}: belongs to run_key {run_key}, not {self.run_key};"
                " move it away or restore the settings it was made with"
            )
        if damaged:
            return f"{damaged[0]} is missing or does not match its hash"
        if set(hashes) != {file.name for file in folder.iterdir()} - {_MANIFEST}:
            return f"{_MANIFEST} lists other files than there are"
        if type(step) is not int or folder.name != f"step-{step:08d}":
            return f"{_MANIFEST} speaks of step {step}"
        if made != dtype:
            raise BadInput(
                f"{folder}: was trained in {made}, this machine would go on in {dtype};"
                " continue on hardware of the first kind, or set engine.precision"
            )
        return None

    def _load(self, engine: Engine, tag: str) -> dict:
        try:
            with _tensors_only():
                return engine.load(self.folder, tag)
        except pickle.UnpicklingError as error:
            raise BadInput(
                f"{self.folder / tag}: holds code or foreign objects, which are not loaded; this project never writes"
                f" such files, delete {self.folder} and train again"
            ) from error

    def _present(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"))

    def _drop(self, *patterns: str) -> None:
        for pattern in patterns:
            for folder in self.folder.glob(pattern):
                shutil.rmtree(folder)


def save_snapshot(folder: Path, step: int, task: Task) -> None:
    """Weights and routing states after `step` steps, for probes and generation; loads with weights_only."""
    state = {"model": task.model.state_dict(), "task": task.state_dict()}
    with atomic_path(folder / "snapshots" / f"step-{step:08d}.pt") as temporary:
        torch.save(state, temporary)


@contextmanager
def _tensors_only() -> Iterator[None]:
    """DeepSpeed unpickles without restriction; in here torch.load takes tensors, plain values and `_CLASSES` only."""
    before = os.environ.get(_TENSORS_ONLY)
    os.environ[_TENSORS_ONLY] = "1"
    try:
        with torch.serialization.safe_globals([pkgutil.resolve_name(name) for name in _CLASSES]):
            yield
    finally:
        if before is None:
            del os.environ[_TENSORS_ONLY]
        else:
            os.environ[_TENSORS_ONLY] = before


def _has_hash(file: Path, expected: str) -> bool:
    return file.is_file() and sha256_file(file) == expected


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
