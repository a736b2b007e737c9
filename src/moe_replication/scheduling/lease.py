"""GPUs handed out to concurrent jobs by file locks.

A hold is a locked file below the device's folder that says how much memory its job declared. The kernel drops the
lock with the last process that has the file open, however it ends; a file without a lock is rubbish, and the next
comer removes it. Whoever looks for room keeps the queues of all its devices locked until it has some, so that large
jobs are not overtaken for ever; jobs of other devices pass by.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from moe_replication.errors import BadInput
from moe_replication.scheduling.devices import VISIBLE, Device

POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Hold:
    """What one process declared on one device; 0 MB is all of it."""

    pid: int
    memory_mb: int


class LeaseFolder:
    """The locks of this user on this machine; `memory_share` of each device's memory is given away."""

    def __init__(self, folder: str, memory_share: float) -> None:
        self.folder = Path(f"{folder}-{os.getuid()}")
        self.memory_share = memory_share

    def acquire(
        self, devices: list[Device], count: int, memory_mb: int, say: Callable[[str], None]
    ) -> tuple[list[Device], list[int]]:
        """`count` distinct devices with room for `memory_mb` each, and the open files that hold them.

        0 MB, or as much as a device gives away, takes devices whole. Says so and waits where there is no room;
        BadInput when there are not so many devices.
        """
        if count > len(devices):
            visible = os.environ.get(VISIBLE, "unset")
            raise BadInput(
                f"--gpus {count}: only {len(devices)} can be used here ({VISIBLE} = {visible});"
                " lower gpus_per_process or engine.world_size, or choose a scale without GPUs"
            )
        self._make_folder()
        told = False
        with self._first_in_line(devices):
            while len(chosen := self._with_room(devices, memory_mb)) < count:
                if not told:
                    say(f"waits for {count} GPU(s) with {memory_mb or 'all'} MB free; see moe-replication gpus")
                told = True
                time.sleep(POLL_SECONDS)
            return chosen[:count], [self._hold(device, memory_mb) for device in chosen[:count]]

    def holds(self, device: Device) -> list[Hold]:
        """The live holds on a device; files of processes that are gone are removed."""
        found = []
        for path in sorted((self.folder / device.uuid).glob("*.hold")):
            # Another process may clear it away first.
            with suppress(FileNotFoundError), open(path, encoding="utf-8") as handle:
                if _is_locked(handle):
                    found.append(Hold(**json.loads(handle.read())))
                else:
                    path.unlink()
        return found

    @contextmanager
    def _first_in_line(self, devices: list[Device]) -> Iterator[None]:
        """Hold the queue of every device, taken in one order by everybody, or two would wait for one another."""
        with ExitStack() as stack:
            for uuid in sorted(device.uuid for device in devices):
                (self.folder / uuid).mkdir(exist_ok=True)
                queue = stack.enter_context(open(self.folder / uuid / "queue", "w", encoding="utf-8"))
                fcntl.flock(queue, fcntl.LOCK_EX)
            yield

    def _with_room(self, devices: list[Device], memory_mb: int) -> list[Device]:
        """Devices with room, the emptiest first."""
        left = {device: self._left(device, memory_mb) for device in devices}
        return sorted((device for device in left if left[device] is not None), key=lambda device: -left[device])

    def _left(self, device: Device, memory_mb: int) -> float | None:
        """Memory that would be left to others, None without room."""
        holds = self.holds(device)
        if self._takes_whole(device, memory_mb):
            return None if holds else 0.0
        if any(hold.memory_mb == 0 for hold in holds):
            return None
        left = self._capacity(device) - sum(hold.memory_mb for hold in holds) - memory_mb
        return left if left >= 0 else None

    def _capacity(self, device: Device) -> float:
        return self.memory_share * device.memory_mb

    def _takes_whole(self, device: Device, memory_mb: int) -> bool:
        return memory_mb == 0 or memory_mb >= self._capacity(device)

    def _hold(self, device: Device, memory_mb: int) -> int:
        content = {"pid": os.getpid(), "memory_mb": 0 if self._takes_whole(device, memory_mb) else memory_mb}
        path = self.folder / device.uuid / f"{os.getpid()}-{time.monotonic_ns()}.hold"
        # Under its name only once it is locked and whole: nobody may take it for one that a dead process left.
        new = path.with_suffix(".new")
        descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, json.dumps(content).encode())
        os.rename(new, path)
        return descriptor

    def _make_folder(self) -> None:
        """The folder lies where everybody may write: one that another user made is refused."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.folder.is_symlink() or self.folder.stat().st_uid != os.getuid():
            raise BadInput(f"{self.folder}: is a link or another user's; remove it or change lease.folder")


def _is_locked(handle: TextIO) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
