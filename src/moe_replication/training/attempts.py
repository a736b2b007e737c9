"""How often the training of a run began, and how each attempt ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from moe_replication.errors import Stopped, TrainingDiverged

LOG = "attempts.log"
STARTED, FINISHED, STOPPED, DIVERGED = "started", "finished", "stopped", "diverged"


class Attempts:
    """attempts.log beside a run's checkpoints: a line when an attempt begins, a line when it says how it ended.

    The file goes with the checkpoints of a finished job; `folder` None (other ranks) writes nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.path = None if folder is None else folder / LOG

    @contextmanager
    def attempt(self, step: Callable[[], int]) -> Iterator[None]:
        """One attempt at the run; `step` gives the steps done so far."""
        self._note(STARTED, step())
        try:
            yield
        except Stopped:
            self._note(STOPPED, step())
            raise
        except TrainingDiverged:
            self._note(DIVERGED, step())
            raise
        self._note(FINISHED, step())

    def counts(self) -> dict[str, int]:
        """`starts`, and how earlier ones ended: `stopped` by a signal, `diverged`, `killed` (without a last word).

        One that finished before a neighbour in its job failed is in `starts` alone.
        """
        text = "" if self.path is None or not self.path.is_file() else self.path.read_text(encoding="utf-8")
        events = Counter(line.split()[0] for line in text.splitlines() if line)
        silent = events[STARTED] - events[STOPPED] - events[DIVERGED] - events[FINISHED] - 1
        return {
            "starts": events[STARTED],
            "stopped": events[STOPPED],
            "diverged": events[DIVERGED],
            "killed": max(0, silent),
        }

    def _note(self, event: str, step: int) -> None:
        if self.path is not None:
            with open(self.path, "a", encoding="utf-8") as log:
                log.write(f"{event} after step {step} at {datetime.now(UTC).isoformat(timespec='seconds')}\n")
