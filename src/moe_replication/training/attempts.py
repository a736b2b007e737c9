"""How often the training of a run began, and how each attempt ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from moe_replication.errors import Stopped, TrainingDiverged

STARTED, FINISHED, STOPPED, DIVERGED, FAILED = "started", "finished", "stopped", "diverged", "failed"


class Attempts:
    """attempts.log in a run directory: a line when an attempt begins, a line when it says how it ended.

    Every line names the run_key: attempts under other settings, code or data stay on record. `folder` None (other
    ranks) writes nothing.
    """

    def __init__(self, folder: Path | None, run_key: str) -> None:
        self.path = None if folder is None else folder / "attempts.log"
        self.run_key = run_key
        self.step: Callable[[], int] = lambda: 0

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """One attempt at the run; `self.step` gives the steps done so far."""
        self._note(STARTED)
        try:
            yield
        except Stopped:
            self._note(STOPPED)
            raise
        except TrainingDiverged:
            self._note(DIVERGED)
            raise
        except Exception as error:
            self._note(FAILED, f", {type(error).__name__}")
            raise
        self._note(FINISHED)

    def counts(self) -> dict[str, int]:
        """`starts`, and how earlier ones ended: `stopped` by a signal, `diverged`, `failed`, `killed` (no last word).

        `other_settings`: starts under another run_key. One that finished before is in `starts` alone.
        """
        missing = self.path is None or not self.path.is_file()
        # A line that a fault of the disk garbled costs that line, never the record of the run that has just finished.
        text = "" if missing else self.path.read_text(encoding="utf-8", errors="replace")
        lines = [line.split() for line in text.splitlines()]
        # The last line of a machine that lost power may be cut short.
        own = Counter(words[1] for words in lines if len(words) > 1 and words[0] == self.run_key)
        ended = {STOPPED: own[STOPPED], DIVERGED: own[DIVERGED], FAILED: own[FAILED]}
        silent = own[STARTED] - sum(ended.values()) - own[FINISHED] - 1
        others = sum(len(words) > 1 and words[1] == STARTED for words in lines) - own[STARTED]
        return {"starts": own[STARTED], **ended, "killed": max(0, silent), "other_settings": others}

    def _note(self, event: str, more: str = "") -> None:
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a", encoding="utf-8") as log:
                moment = datetime.now(UTC).isoformat(timespec="seconds")
                log.write(f"{self.run_key} {event} after step {self.step()} at {moment}{more}\n")
