"""The loop over the steps of one run: update, log, evaluate, checkpoint, stop."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import Tensor

from moe_replication.config.project import Run
from moe_replication.distributed import first_over_ranks, mean_over_ranks, rank
from moe_replication.errors import Stopped, TrainingDiverged
from moe_replication.progress import TrainingProgress
from moe_replication.routing.update import end_step
from moe_replication.seeding import derive_seed
from moe_replication.training import routing_statistics
from moe_replication.training.checkpoint import CheckpointFolder, save_snapshot
from moe_replication.training.engine import Engine
from moe_replication.training.safety import GradientWatch, describe_fault
from moe_replication.training.schedules import horizon_decay
from moe_replication.training.signals import StopRequest
from moe_replication.training.task import Batch, LossOutput, Task
from moe_replication.training.watch import TrainingWatch

# Exit code that asks a scheduler to queue the job again (sysexits' EX_TEMPFAIL).
REQUEUE = 75
# What a person wants to see of a run while it goes.
HEADLINE = ("val_loss", "test_accuracy", "dead_experts")


class Trainer:
    """The loop over optimiser steps of one run."""

    def __init__(
        self,
        run: Run,
        task: Task,
        checkpoints: CheckpointFolder,
        folder: Path,
        watch: TrainingWatch,
        stop: StopRequest,
        claims: dict[str, str],
    ) -> None:
        self.run, self.task, self.checkpoints, self.folder = run, task, checkpoints, folder
        self.claims = claims
        self.watch, self.stop = watch, stop
        self.gradients = GradientWatch(task.model)
        self.engine = Engine(task.model, run.config)
        task.use(self.engine.deepspeed, self.engine.device)
        routing = run.config.routing
        self.beta = horizon_decay(routing.ema_beta, routing.ema_reference_steps, task.steps)
        self.snapshot_steps = {max(1, round(part * task.steps)) for part in run.config.training.snapshots}
        self.curve: list[dict] = []
        self.experts: list[dict] = []
        self.pending: list[Tensor] = []
        self.wall_seconds, self.restarts = 0.0, 0
        self.first_step = self.done = self.saved = self._resume()
        self.started = time.monotonic() - self.wall_seconds
        label = f"{run.paper} {run.condition} seed {run.seed}"
        log = folder / "log.txt" if rank() == 0 else None
        self.progress = TrainingProgress(label, self.first_step, task.steps, task.unit, log)

    def fit(self) -> None:
        """Run from the newest checkpoint, or from the start, to the last step; a signal ends it between two steps."""
        self._say_what_runs()
        try:
            for step in range(self.first_step, self.task.steps):
                if self._asked_to_stop():
                    self._stop()
                self._step(step)
        finally:
            self.wall_seconds = time.monotonic() - self.started

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
        output, train_loss = self._update(step)
        for layer in task.moe_layers():
            end_step(layer.state, config.routing, self.beta)
        task.end_step()
        self.pending.append(mean_over_ranks(train_loss))
        self.done = done = step + 1
        if done % config.training.log_every == 0 or done == task.steps or done == 1:
            self._log(done, learning_rate, output)
        elif self.progress.is_due():
            self._say_step(done, torch.stack(self.pending).mean().item(), learning_rate)
        if done % task.evaluate_every == 0 or done == task.steps:
            self._evaluate(done)
        if done in self.snapshot_steps and rank() == 0:
            save_snapshot(self.checkpoints.folder, done, task)
        if done % task.checkpoint_every == 0 or done == task.steps:
            self._save(done)

    def _update(self, step: int) -> tuple[LossOutput, Tensor]:
        """Move the weights once; the last forward pass, and this rank's mean training loss."""
        # Dropout is the one draw from the global generator; tied to the step it needs no saving.
        torch.manual_seed(derive_seed(self.run.seed, f"step/{step}/{rank()}"))
        batches, losses, train_losses = self.task.micro_batches(step), [], []
        self.gradients.clear()
        for batch in batches:
            output = self.task.loss(batch, step)
            self.engine.backward(output.loss)
            losses.append(output.loss.detach())
            train_losses.append(output.train_loss)
            if len(losses) == len(batches):
                self._check_finite(step, batches, torch.stack(losses))
            moved = self.engine.step()
        if not moved:
            raise self._diverged("a gradient is finite on every process, but not its sum", step)
        return output, torch.stack(train_losses).mean()

    def _log(self, done: int, learning_rate: float, output: LossOutput) -> None:
        pending = torch.stack(self.pending)
        loss = pending.mean().item()
        self.pending.clear()
        row, expert_rows = self.task.training_row(done, output)
        parts = {name: value.item() for name, value in output.parts.items()} if self.run.config.ecology else {}
        self._add_row(done, {"train_loss": loss, "learning_rate": learning_rate} | parts | row)
        self.experts += expert_rows
        self._say_step(done, loss, learning_rate)
        found = self.watch.see_losses(done, pending.tolist())
        if output.routing:
            usage_LE = mean_over_ranks(routing_statistics.usage(output.routing))
            found += self.watch.see_usage(done, usage_LE.tolist())
        for warning in found:
            self.progress.say(f"warning: {warning}")

    def _say_step(self, done: int, loss: float, learning_rate: float) -> None:
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
            "watch": self.watch.state_dict(),
            "claims": self.claims,
            "wall_seconds": time.monotonic() - self.started,
            "restarts": self.restarts,
        }
        self.checkpoints.save(self.engine, done, extra)
        self.saved = done

    def _resume(self) -> int:
        found = self.checkpoints.load_newest(self.engine)
        if found is None:
            return 0
        step, extra = found
        self.task.load_state_dict(extra["task"])
        self.curve, self.experts = extra["curve"], extra["experts"]
        self.pending = [loss.to(self.engine.device) for loss in extra["pending"]]
        self.watch.load_state_dict(extra["watch"])
        # As they stood at the first start: what was seen of the run since must not have changed them.
        self.claims = extra["claims"]
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
        for problem in self.checkpoints.problems:
            self.progress.say(f"warning: {problem}")

    def _check_finite(self, step: int, batches: list[Batch], losses: Tensor) -> None:
        """TrainingDiverged before the update where a loss or a gradient of the step is no number."""
        finite = torch.isfinite(losses).all() & self.gradients.finite(losses.device)
        # All ranks stop together, or the others would wait for this one's gradient for ever.
        if not mean_over_ranks((~finite).float()).item():
            return
        what = describe_fault(losses, self.gradients, self.task.model, lambda i: self.task.loss(batches[i], step))
        raise self._diverged(first_over_ranks(what), step)

    def _diverged(self, what: str, step: int) -> TrainingDiverged:
        return TrainingDiverged(
            f"{self.run.folder}: {what} at step {step + 1}, before the weights moved; the last good checkpoint is"
            f" {self.checkpoints.newest()}. Lower the learning rate"
        )

    def _asked_to_stop(self) -> bool:
        """Whether any rank got a signal; all ranks agree, or one would wait for the others for ever."""
        asked = torch.tensor(float(self.stop.asked), device=self.engine.device)
        return mean_over_ranks(asked).item() > 0

    def _stop(self) -> None:
        """Write a checkpoint unless the newest is of this step, and ask to be queued again."""
        if self.done > self.saved:
            self._save(self.done)
        written = "; checkpoint written" if self.done else ""
        self.progress.say(f"stopped by a signal after step {self.done}{written}")
        raise Stopped(REQUEUE)
