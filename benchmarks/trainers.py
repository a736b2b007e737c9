"""Trainings as the workflow runs them, held between two steps, and a clock for the parts of a step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from benchmarks import results
from benchmarks.prepared import ROOT, cpu_run, prepared
from moe_replication.config.safety import safety_settings
from moe_replication.training.checkpoint import CheckpointFolder
from moe_replication.training.loop import Trainer, make_task
from moe_replication.training.safety import GradientWatch
from moe_replication.training.signals import StopRequest
from moe_replication.training.watch import TrainingWatch

NEVER = 10**9


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


@dataclass(kw_only=True)
class Timed:
    """A training with its clock; `step` runs optimiser steps from `at` on, over and over again the same ones."""

    trainer: Trainer
    clock: Clock
    at: int

    def step(self, count: int) -> None:
        """So many steps, logged as often as the run would."""
        for step in range(self.at, self.at + count):
            with self.clock.part("rest"):
                self.trainer._step(step)


def timed_training(condition: str, at_part: float) -> Timed:
    """A condition's training at the cpu scale, from `at_part` of its horizon on."""
    project, run = cpu_run(condition)
    settings, clock = safety_settings(ROOT), Clock()
    folder = results.FOLDER / "runs" / condition
    folder.mkdir(parents=True, exist_ok=True)
    task = make_task(run, prepared(project, run))
    watch = TrainingWatch(settings, run.config.routing.top_k / run.config.moe.experts)
    with _watched_gradients(clock):
        trainer = Trainer(run, task, CheckpointFolder(folder, "none", 1), folder, watch, StopRequest(), {})
    task.evaluate_every = task.checkpoint_every = NEVER
    trainer.snapshot_steps = set()
    for owner, method, name in (
        (task, "micro_batches", "data"),
        (task, "forward_model", "forward"),
        (task, "loss", "losses"),
        (trainer.engine, "backward", "backward"),
        (trainer.engine, "step", "optimiser"),
        (trainer, "_check_finite", "diagnostics"),
        (trainer, "_log", "logging"),
    ):
        clock.watch(owner, method, name)
    if run.config.task == "language":
        clock.watch(task.model, "token_losses", "head and loss")
    per_log = run.config.training.log_every
    return Timed(trainer=trainer, clock=clock, at=round(at_part * task.steps) // per_log * per_log)


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


@contextmanager
def _watched_gradients(clock: Clock) -> Iterator[None]:
    """The watch's hooks run within the backward pass, but are diagnostics."""
    original = GradientWatch._see
    GradientWatch._see = clock.timed("diagnostics", original)
    try:
        yield
    finally:
        GradientWatch._see = original


def deterministic() -> None:
    """As training sets torch."""
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False
