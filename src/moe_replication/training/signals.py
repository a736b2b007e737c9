"""Signals that ask training to end: noted at once, acted on between two optimiser steps."""

from __future__ import annotations

import signal

# SIGUSR1 is what a scheduler can be told to send before the time limit or a preemption.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class StopRequest:
    """Within the context a signal ends nothing by itself, it sets `asked`."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> StopRequest:
        self._previous = {signum: signal.signal(signum, self._note) for signum in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)

    def _note(self, signum: int, _frame: object) -> None:
        self.asked = True
