"""What deterministic mode and the watch over gradients cost a training step: `python -m benchmarks.deterministic_mode`.

Prints the table of docs/faults.md. Processor time of one thread, as it feels other jobs of the machine less than the
clock does; the modes take every step in turn, in one process, on one model.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from benchmarks import results
from benchmarks.prepared import ROOT, prepared
from moe_replication.config import load_project
from moe_replication.config.safety import safety_settings
from moe_replication.training.checkpoint import CheckpointFolder
from moe_replication.training.loop import Trainer
from moe_replication.training.run import make_task
from moe_replication.training.safety import GradientWatch
from moe_replication.training.signals import StopRequest
from moe_replication.training.watch import TrainingWatch

RUNS = {"et": "expert-threshold", "v5-both": "expert-ecology"}
STEPS, WARM_UP = 50, 5
NEVER = 10**9
# name -> (deterministic mode, gradients watched)
MODES = {"mode off": (False, False), "mode on": (True, False), "and gradients watched": (True, True)}


class Switch:
    """A trainer of a smoke run whose watch over gradients can be turned off."""

    def __init__(self, condition: str) -> None:
        self.watched = True
        see = GradientWatch._see
        GradientWatch._see = lambda watch, name, gradient: see(watch, name, gradient) if self.watched else None
        try:
            self.trainer = _trainer(condition)
        finally:
            GradientWatch._see = see
        check = self.trainer._check_finite
        self.trainer._check_finite = lambda *step: check(*step) if self.watched else None

    def step(self, step: int, deterministic: bool, watched: bool) -> float:
        """Seconds of processor time of a step."""
        torch.use_deterministic_algorithms(deterministic)
        self.watched = watched
        started = time.process_time()
        self.trainer._step(step)
        return time.process_time() - started


def _trainer(condition: str) -> Trainer:
    project = load_project(ROOT, {"scale": "smoke", "papers": [RUNS[condition]], "conditions": [condition]})
    run = project.runs[0]
    folder = results.FOLDER / "runs" / f"smoke-{condition}"
    folder.mkdir(parents=True, exist_ok=True)
    task = make_task(run, prepared(project, run))
    watch = TrainingWatch(safety_settings(ROOT), run.config.routing.top_k / run.config.moe.experts)
    trainer = Trainer(run, task, CheckpointFolder(folder, "none", 1), folder, watch, StopRequest(), {})
    task.evaluate_every = task.checkpoint_every = NEVER
    trainer.snapshot_steps = set()
    trainer.progress.line = trainer.progress.say = lambda *_: None
    return trainer


def measure(condition: str, steps: int) -> dict[str, float]:
    """Median milliseconds of a step in every mode; the first steps do not count."""
    switch = Switch(condition)
    # The last step of a run also evaluates and saves.
    places = range(1, switch.trainer.task.steps - 1)
    found: dict[str, list[float]] = {name: [] for name in MODES}
    for number in range(WARM_UP + steps):
        for name, mode in MODES.items():
            found[name].append(switch.step(places[number % len(places)], *mode))
    return {name: statistics.median(times[WARM_UP:]) * 1000 for name, times in found.items()}


def table(measured: dict[str, dict[str, float]]) -> str:
    """The table of docs/faults.md."""
    lines = [f"| run | {' | '.join(MODES)} |", "|---|---|---|---|"]
    for condition, row in measured.items():
        base = row["mode off"]
        cells = [f"{base:.1f} ms", *(f"{row[name]:.1f} ms ({row[name] / base - 1:+.0%})" for name in list(MODES)[1:])]
        lines.append(f"| {RUNS[condition]} `{condition}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=STEPS, help=f"steps of every mode (default {STEPS})")
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    torch.utils.deterministic.fill_uninitialized_memory = False
    print(table({condition: measure(condition, steps) for condition in RUNS}))


if __name__ == "__main__":
    main()
