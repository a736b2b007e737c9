"""Checkpoints that are whole or absent: written aside, hashed, fsynced, renamed."""

from __future__ import annotations

import fcntl
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moe_replication.distributed import rank
from moe_replication.errors import BadInput
from moe_replication.files import read_json, sha256_file, write_json
from moe_replication.training.attempts import LOG
from moe_replication.training.engine import Engine

_MANIFEST = "manifest.json"
_KEPT = 2


class CheckpointFolder:
    """Checkpoints of one run: results/{scale}/checkpoints/{run_key}/step-{n}."""

    def __init__(self, folder: Path, run_key: str) -> None:
        self.folder, self.run_key = folder, run_key

    @contextmanager
    def only_writer(self) -> Iterator[None]:
        """Hold the run's lock; BadInput when another process has it. The lock goes with the process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "lock", "w", encoding="utf-8") as handle:
            if rank() == 0:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise BadInput(f"{self.folder}: another process trains this run; wait for it or stop it") from error
            yield

    def save(self, engine: Engine, step: int, extra: dict) -> None:
        """Write the state after `step` steps and drop all but the newest few."""
        partial, final = self.folder / f".step-{step:08d}.partial", self.folder / f"step-{step:08d}"
        if rank() == 0:
            for rest in self.folder.glob(".step-*.partial"):
                shutil.rmtree(rest)
        engine.barrier()
        engine.save(self.folder, partial.name, extra)
        engine.barrier()
        if rank() == 0:
            hashes = {file.name: sha256_file(file) for file in sorted(partial.iterdir())}
            for file in partial.iterdir():
                _fsync(file)
            manifest = {"run_key": self.run_key, "step": step, "dtype": str(engine.dtype), "sha256": hashes}
            write_json(partial / _MANIFEST, manifest)
            shutil.rmtree(final, ignore_errors=True)
            os.replace(partial, final)
            _fsync(self.folder)
            for old in self._present()[:-_KEPT]:
                shutil.rmtree(old)
        engine.barrier()

    def load_newest(self, engine: Engine) -> tuple[int, dict] | None:
        """Restore the newest whole checkpoint; a damaged one is named and the one before it taken."""
        for folder in reversed(self._present()):
            problem = self._problem(folder)
            if problem is None:
                manifest = read_json(folder / _MANIFEST)
                if manifest["dtype"] != str(engine.dtype):
                    raise BadInput(
                        f"{folder}: was trained in {manifest['dtype']}, this machine would go on in {engine.dtype};"
                        " continue on hardware of the first kind, or set engine.precision"
                    )
                return manifest["step"], engine.load(self.folder, folder.name)
            warnings.warn(f"{folder}: {problem}; falling back to the checkpoint before it", stacklevel=2)
        return None

    def remove(self) -> None:
        """Drop every resumable state of a finished run, and the log of its attempts."""
        if rank() == 0:
            for folder in [*self._present(), *self.folder.glob(".step-*.partial")]:
                shutil.rmtree(folder)
            (self.folder / LOG).unlink(missing_ok=True)

    def _present(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"))

    def _problem(self, folder: Path) -> str | None:
        try:
            manifest = read_json(folder / _MANIFEST)
        except BadInput as error:
            return str(error)
        if manifest["run_key"] != self.run_key:
            raise BadInput(
                f"{folder}: belongs to run_key {manifest['run_key']}, not {self.run_key};"
                " move it away or restore the settings it was made with"
            )
        for name, expected in manifest["sha256"].items():
            if not (folder / name).is_file() or sha256_file(folder / name) != expected:
                return f"{name} is missing or does not match its hash"
        return None


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
