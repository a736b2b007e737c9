"""Trainings as the workflow runs them, with a clock on the parts of a step."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from unittest import mock

import torch

from benchmarks import results
from benchmarks.clock import Clock
from benchmarks.prepared import ROOT, cpu_run, prepared
from moe_replication.config.safety import safety_settings
from moe_replication.training.checkpoint import CheckpointFolder
from moe_replication.training.loop import Trainer
from moe_replication.training.run import make_task
from moe_replication.training.safety import GradientWatch
from moe_replication.training.signals import StopRequest
from moe_replication.training.watch import TrainingWatch

NEVER = 10**9


@dataclass(kw_only=True)
class Timed:
    """A training with its clock; `step` runs optimiser steps from `at` on, over and over again the same ones."""

    trainer: Trainer
    clock: Clock
    at: int

    def step(self, count: int) -> None:
        """So many steps, logged as often as the run would.

        ZeRO orthogonalises gradients at the end of the backward pass, which is the optimiser's work.
        """
        # Not at the top: training.engine says how DeepSpeed is to be imported.
        muon = importlib.import_module("deepspeed.runtime.zero.muon.original_muon")
        update = self.clock.timed("Newton-Schulz", muon.muon_update)
        with mock.patch.object(muon, "muon_update", update):
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
    # Its hooks run within the backward pass, but are diagnostics.
    with mock.patch.object(GradientWatch, "_see", clock.timed("diagnostics", GradientWatch._see)):
        trainer = Trainer(run, task, CheckpointFolder(folder, "none", 1), folder, watch, StopRequest(), {})
    task.evaluate_every = task.checkpoint_every = NEVER
    trainer.snapshot_steps = set()
    for owner, method, name in (
        (task, "micro_batches", "data"),
        (task, "forward_model", "forward"),
        (task, "loss", "head and losses"),
        (trainer.engine, "backward", "backward"),
        (trainer.engine, "step", "optimiser"),
        (trainer, "_check_finite", "diagnostics"),
        (trainer, "_log", "logging"),
    ):
        clock.watch(owner, method, name)
    per_log = run.config.training.log_every
    return Timed(trainer=trainer, clock=clock, at=round(at_part * task.steps) // per_log * per_log)


def deterministic() -> None:
    """As training sets torch."""
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False
