"""Train one run: resume, step, evaluate, checkpoint, record."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import torch
from torch import Tensor

from moe_replication.config.fingerprint import run_key, training_code_version
from moe_replication.config.needs import data_path
from moe_replication.config.project import Condition, Project, Run
from moe_replication.distributed import mean_over_ranks, rank
from moe_replication.errors import Stopped, TrainingDiverged
from moe_replication.files import atomic_path, write_json
from moe_replication.progress import TrainingProgress
from moe_replication.routing.update import end_step
from moe_replication.seeding import derive_seed
from moe_replication.training import record
from moe_replication.training.attempts import Attempts
from moe_replication.training.checkpoint import CheckpointFolder
from moe_replication.training.engine import Engine, start_distributed
from moe_replication.training.language import LanguageTask
from moe_replication.training.schedules import horizon_decay
from moe_replication.training.task import LossOutput, Task
from moe_replication.training.vision import VisionTask

# Exit code that asks a scheduler to queue the job again (sysexits' EX_TEMPFAIL).
REQUEUE = 75
# What a person wants to see of a run while it goes.
HEADLINE = ("val_loss", "test_accuracy", "dead_experts")


def train_in_turn(project: Project, runs: list[Run]) -> None:
    """Train runs one after the other in this process: starting Python and DeepSpeed costs seconds.

    Each keeps its last checkpoint until all are done: should one fail, the workflow engine removes the
    finished records too, and they are restored from there. A diverged run does not keep the others from
    training; TrainingDiverged comes at the end.
    """
    finished, diverged = [], []
    for run in runs:
        try:
            finished.append(train(project, run))
        except TrainingDiverged as error:
            diverged.append(str(error))
    if diverged:
        raise TrainingDiverged("; ".join(diverged))
    for checkpoints in finished:
        checkpoints.remove()


def train(project: Project, run: Run) -> CheckpointFolder:
    """Train `run` to its end and write its run directory; returns its checkpoints.

    Raises TrainingDiverged on a non-finite loss, before the weights move, and BadInput when another process
    trains the same run.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(project.scale.threads)
    torch.use_deterministic_algorithms(True)
    # The mode would also write NaN into every fresh buffer, gigabytes a step in ZeRO's buckets.
    torch.utils.deterministic.fill_uninitialized_memory = False
    # Before the lock: which process is rank 0 is known only then.
    start_distributed(run.config.engine.world_size)
    condition = project.condition(run)
    task = make_task(run, project.root / data_path(project.data_folder, run.config))
    name = (run.scale, run.paper, run.condition, run.seed)
    key = run_key(name, condition.values, task.data_sha256, training_code_version())
    checkpoints = CheckpointFolder(project.root / "results" / run.scale / "checkpoints" / key, key)
    with checkpoints.only_writer():
        trainer = Trainer(run, task, checkpoints, project.root / run.folder)
        # Asked for before hours are spent: what cannot be found out should fail in the first second.
        engine = trainer.engine
        surroundings = record.environment(project, run.paper, engine)
        (trainer.folder / "run.json").unlink(missing_ok=True)
        attempts = Attempts(checkpoints.folder if rank() == 0 else None)
        try:
            with attempts.attempt(lambda: trainer.done):
                trainer.fit()
                if rank() == 0:
                    write_json(trainer.folder / "environment.json", surroundings)
                    write_json(trainer.folder / "cost.json", trainer.cost() | attempts.counts())
                    write_run_directory(project, condition, trainer, key)
        finally:
            trainer.progress.close()
    return checkpoints


def write_run_directory(project: Project, condition: Condition, trainer: Trainer, key: str) -> None:
    """The files of the run directory that a rerun would write again byte for byte, the record last."""
    run, task, folder = trainer.run, trainer.task, trainer.folder
    metrics = task.final_metrics(trainer.curve, trainer.experts)
    write_json(folder / "config.json", {"config": condition.values, "origins": condition.origins})
    record.write_tables(folder, trainer.curve, trainer.experts)
    write_json(folder / "run.json", record.run_record(run, condition, key, task, metrics, project.root))
    headline = [f"{name} {metrics[name]:.4g}" for name in HEADLINE if name in metrics]
    trainer.progress.say("done: " + "  ".join(headline))


def make_task(run: Run, data_folder: Path) -> Task:
    """The task of a run's settings, with the model at its start."""
    if run.config.task == "language":
        return LanguageTask(run.config, data_folder, run.seed)
    return VisionTask(run.config, data_folder, run.seed)


def save_snapshot(folder: Path, step: int, task: Task) -> None:
    """Weights and routing states after `step` steps, for probes and generation; loads with weights_only."""
    state = {"model": task.model.state_dict(), "task": task.state_dict()}
    with atomic_path(folder / "snapshots" / f"step-{step:08d}.pt") as temporary:
        torch.save(state, temporary)


class Trainer:
    """The loop over optimiser steps of one run."""

    def __init__(self, run: Run, task: Task, checkpoints: CheckpointFolder, folder: Path) -> None:
        self.run, self.task, self.checkpoints, self.folder = run, task, checkpoints, folder
        self.engine = Engine(task.model, run.config)
        task.use(self.engine.deepspeed, self.engine.device)
        routing = run.config.routing
        self.beta = horizon_decay(routing.ema_beta, routing.ema_reference_steps, task.steps)
        self.snapshot_steps = {max(1, round(part * task.steps)) for part in run.config.training.snapshots}
        self.curve: list[dict] = []
        self.experts: list[dict] = []
        self.pending: list[Tensor] = []
        self.wall_seconds, self.restarts = 0.0, 0
        self.stop_signal: int | None = None
        self.first_step = self.done = self._resume()
        self.started = time.monotonic() - self.wall_seconds
        label = f"{run.paper} {run.condition} seed {run.seed}"
        log = folder / "log.txt" if rank() == 0 else None
        self.progress = TrainingProgress(label, self.first_step, task.steps, task.unit, log)

    def fit(self) -> None:
        """Run from the newest checkpoint, or from the start, to the last step."""
        self._say_what_runs()
        previous = {s: signal.signal(s, self._ask_to_stop) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            for step in range(self.first_step, self.task.steps):
                self._step(step)
        finally:
            self.wall_seconds = time.monotonic() - self.started
            for signum, handler in previous.items():
                signal.signal(signum, handler)

    def cost(self) -> dict:
        """Wall time over all starts of this run, and its speed."""
        processed = self.task.steps * self.task.samples_per_step
        return {
            "wall_seconds": self.wall_seconds,
            "tokens_per_second": processed / self.wall_seconds,
            "restarts": self.restarts,
        }

    def _step(self, step: int) -> None:
        task, config = self.task, self.run.config
        learning_rate = self.engine.set_learning_rates(step, task.steps)
        # Dropout is the one draw from the global generator; tied to the step it needs no saving.
        torch.manual_seed(derive_seed(self.run.seed, f"step/{step}/{rank()}"))
        losses = []
        for batch in task.micro_batches(step):
            output = task.loss(batch, step)
            self._check_finite(output.loss, step)
            self.engine.backward_and_step(output.loss)
            losses.append(output.train_loss)
        for layer in task.moe_layers():
            end_step(layer.state, config.routing, self.beta)
        task.end_step()
        self.pending.append(mean_over_ranks(torch.stack(losses).mean()))
        self.done = done = step + 1
        if done % config.training.log_every == 0 or done == task.steps or done == 1:
            self._log(done, learning_rate, output)
        if done % task.evaluate_every == 0 or done == task.steps:
            self._evaluate(done)
        if done in self.snapshot_steps and rank() == 0:
            save_snapshot(self.checkpoints.folder, done, task)
        if self._asked_to_stop() and done < task.steps:
            self._save(done)
            self.progress.say(f"stopped by a signal after step {done}; checkpoint written")
            raise Stopped(REQUEUE)
        if done % task.checkpoint_every == 0 or done == task.steps:
            self._save(done)

    def _log(self, done: int, learning_rate: float, output: LossOutput) -> None:
        loss = torch.stack(self.pending).mean().item()
        self.pending.clear()
        row, expert_rows = self.task.training_row(done, output)
        parts = {name: value.item() for name, value in output.parts.items()} if self.run.config.ecology else {}
        self._add_row(done, {"train_loss": loss, "learning_rate": learning_rate} | parts | row)
        self.experts += expert_rows
        self.progress.line(done, loss, learning_rate, (done - self.first_step) * self.task.samples_per_step)

    def _evaluate(self, done: int) -> None:
        row, expert_rows = self.task.evaluate(done)
        self._add_row(done, row)
        self.experts += expert_rows
        shown = [f"{name} {row[name]:.4f}" for name in HEADLINE if name in row]
        self.progress.say(f"step {done:>6}/{self.task.steps}  " + "  ".join(shown))

    def _add_row(self, done: int, values: dict) -> None:
        if not self.curve or self.curve[-1]["step"] != done:
            processed = done * self.task.samples_per_step
            self.curve.append({"step": done, "tokens": processed, "epoch": self.task.epoch(done)})
        self.curve[-1] |= values

    def _save(self, done: int) -> None:
        extra = {
            "task": self.task.state_dict(),
            "curve": self.curve,
            "experts": self.experts,
            "pending": self.pending,
            "wall_seconds": time.monotonic() - self.started,
            "restarts": self.restarts,
        }
        self.checkpoints.save(self.engine, done, extra)

    def _resume(self) -> int:
        found = self.checkpoints.load_newest(self.engine)
        if found is None:
            return 0
        step, extra = found
        self.task.load_state_dict(extra["task"])
        self.curve, self.experts = extra["curve"], extra["experts"]
        self.pending = [loss.to(self.engine.device) for loss in extra["pending"]]
        self.wall_seconds, self.restarts = extra["wall_seconds"], extra["restarts"] + 1
        return step

    def _say_what_runs(self) -> None:
        engine, task = self.engine, self.task
        parameters = sum(parameter.numel() for parameter in task.model.parameters())
        start = f"resumes after step {self.first_step}" if self.first_step else "starts"
        self.progress.say(
            f"{self.run.paper} {self.run.condition} seed {self.run.seed}: {start}; {parameters:,} parameters,"
            f" {task.steps} steps of {task.samples_per_step} {task.unit},"
            f" {str(engine.dtype).removeprefix('torch.')} ({engine.dtype_reason}) on {engine.device}"
        )

    def _check_finite(self, loss: Tensor, step: int) -> None:
        # All ranks stop together, or the others would wait for this one's gradient for ever.
        if mean_over_ranks((~torch.isfinite(loss)).float()).item():
            raise TrainingDiverged(
                f"{self.run.folder}: loss is {loss.item()} at step {step + 1}, before the weights moved;"
                f" the newest checkpoint in {self.checkpoints.folder} is whole. Lower the learning rate"
            )

    def _asked_to_stop(self) -> bool:
        """Whether any rank got a signal; all ranks agree, or one would wait for the others for ever."""
        asked = torch.tensor(float(self.stop_signal is not None), device=self.engine.device)
        return mean_over_ranks(asked).item() > 0

    def _ask_to_stop(self, signum: int, _frame: object) -> None:
        self.stop_signal = signum
