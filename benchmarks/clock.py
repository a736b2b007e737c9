"""A clock for the parts of something, and their rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks import results


@dataclass
class Clock:
    """Seconds by part; a part within another is not counted twice."""

    seconds: dict[str, float] = field(default_factory=dict)
    _inner: list[float] = field(default_factory=lambda: [0.0])

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what happens inside, less its own parts, as `name`."""
        self._inner.append(0.0)
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + spent - self._inner.pop()
            self._inner[-1] += spent

    def timed(self, name: str, function: Callable) -> Callable:
        """`function`, counted as `name`."""

        def run(*inputs, **options):
            with self.part(name):
                return function(*inputs, **options)

        return run

    def watch(self, owner: object, method: str, name: str) -> None:
        """Count an object's method as `name` from now on."""
        setattr(owner, method, self.timed(name, getattr(owner, method)))

    def take(self) -> dict[str, float]:
        """What was counted since the last call."""
        found, self.seconds = self.seconds, {}
        return found


def part_rows(suite: str, case: str, rounds: list[dict[str, float]], steps: int, **more: object) -> list[dict]:
    """Rows of a step's parts, seconds a step, with their share of the whole step, largest first."""
    totals = [sum(parts.values()) for parts in rounds]
    found = []
    for name in sorted(rounds[0], key=lambda name: -sum(parts[name] for parts in rounds)):
        share = sum(parts[name] for parts in rounds) / sum(totals)
        seconds = [parts[name] / steps for parts in rounds]
        found.append(results.row(suite, case, name, seconds, share=share, **more))
    whole = [total / steps for total in totals]
    return [results.row(suite, case, "step", whole, share=1.0, **more), *found]
