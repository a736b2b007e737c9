"""What a person sees while a run trains: one aligned line per logged step, and a bar on a terminal."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

# Seconds; what follows a run live shall show something new every minute.
LONGEST_SILENCE = 30.0


class TrainingProgress:
    """Speed and remaining time from a monotonic clock; silent on ranks without a `log` file.

    The log keeps the lines of the starts before a resume.
    """

    def __init__(self, label: str, first_step: int, steps: int, unit: str, log: Path | None) -> None:
        shown = log is not None
        self.console = Console(quiet=not shown, highlight=False, soft_wrap=True)
        if shown:
            log.parent.mkdir(parents=True, exist_ok=True)
        self.log = open(log, "a" if first_step else "w", encoding="utf-8") if shown else None  # noqa: SIM115
        self.unit, self.steps, self.first_step = unit, steps, first_step
        self.started = self.said = time.monotonic()
        columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, console=self.console, disable=not (shown and self.console.is_terminal))
        self.task = self.bar.add_task(label, total=steps, completed=first_step)
        self.bar.start()

    def is_due(self) -> bool:
        """Whether nothing has been said for so long that somebody who watches would wonder."""
        return time.monotonic() - self.said > LONGEST_SILENCE

    def line(self, step: int, loss: float, learning_rate: float, processed: int) -> None:
        """One line for `step` steps done; `processed` counts tokens or images since the start of this process."""
        elapsed = max(time.monotonic() - self.started, 1e-9)
        remaining = elapsed / max(step - self.first_step, 1) * (self.steps - step)
        self.bar.update(self.task, completed=step)
        self.say(
            f"step {step:>6}/{self.steps}  loss {loss:7.4f}  lr {learning_rate:.2e}"
            f"  {processed / elapsed:>9,.0f} {self.unit}/s  eta {_clock(remaining)}"
        )

    def say(self, text: str) -> None:
        """A line of its own, on screen and in the log."""
        self.said = time.monotonic()
        self.bar.console.print(text, markup=False)
        if self.log:
            print(text, file=self.log, flush=True)

    def close(self) -> None:
        """Stop drawing and close the log."""
        self.bar.stop()
        if self.log:
            self.log.close()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
