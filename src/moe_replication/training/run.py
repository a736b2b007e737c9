"""Train runs of the matrix: lock, resume or give back, fit, and write the run directory."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from moe_replication.config.fingerprint import run_key, training_code_version
from moe_replication.config.matrix import Condition
from moe_replication.config.needs import data_path
from moe_replication.config.project import Project, Run
from moe_replication.config.safety import safety_settings
from moe_replication.distributed import rank
from moe_replication.errors import TrainingDiverged
from moe_replication.files import write_json
from moe_replication.training import record
from moe_replication.training.attempts import Attempts
from moe_replication.training.checkpoint import CheckpointFolder
from moe_replication.training.engine import start_distributed
from moe_replication.training.kept_record import is_kept, keep_record, restore_record
from moe_replication.training.language import LanguageTask
from moe_replication.training.loop import HEADLINE, Trainer
from moe_replication.training.signals import StopRequest
from moe_replication.training.task import Task
from moe_replication.training.vision import VisionTask
from moe_replication.training.watch import TrainingWatch


def train_in_turn(project: Project, runs: list[Run]) -> None:
    """Train runs one after the other in this process: starting Python and DeepSpeed costs seconds.

    A diverged run does not keep the others from training; TrainingDiverged comes at the end.
    """
    diverged = []
    with StopRequest() as stop:
        for run in runs:
            try:
                train(project, run, stop)
            except TrainingDiverged as error:
                diverged.append(str(error))
    if diverged:
        raise TrainingDiverged("; ".join(diverged))


def train(project: Project, run: Run, stop: StopRequest) -> None:
    """Train `run` to its end and write its run directory; a run that had finished gets its files back.

    Raises TrainingDiverged on a loss or gradient that is no number, before the weights move, Stopped on a signal,
    and BadInput when another process trains the same run.
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
    settings = safety_settings(project.root)
    folder = project.root / "results" / run.scale / "checkpoints" / key
    checkpoints = CheckpointFolder(folder, key, settings.checkpoints_kept)
    with checkpoints.only_writer(run.folder):
        if is_kept(folder):
            if rank() == 0:
                restore_record(folder, project.root / run.folder)
                print(f"{run.folder}: had finished; its files are back from {folder}", flush=True)
            return
        attempts = Attempts(project.root / run.folder if rank() == 0 else None, key)
        with attempts.attempt():
            watch = TrainingWatch(settings, run.config.routing.top_k / run.config.moe.experts)
            claims = record.claim_digests(project, run.paper)
            trainer = Trainer(run, task, checkpoints, project.root / run.folder, watch, stop, claims)
            attempts.step = lambda: trainer.done
            try:
                _fit_and_record(project, condition, trainer, attempts)
            finally:
                trainer.progress.close()


def _fit_and_record(project: Project, condition: Condition, trainer: Trainer, attempts: Attempts) -> None:
    checkpoints, folder = trainer.checkpoints, trainer.folder
    # Asked for before hours are spent: what cannot be found out should fail in the first second.
    surroundings = record.environment(project.root, trainer.engine) | {"claims": trainer.claims}
    (folder / "run.json").unlink(missing_ok=True)
    if rank() == 0:
        write_json(folder / "deepspeed.json", trainer.engine.settings)
    trainer.fit()
    if rank() == 0:
        write_json(folder / "environment.json", surroundings)
        write_json(folder / "cost.json", trainer.cost() | attempts.counts())
        write_run_directory(project, condition, trainer, checkpoints.run_key)
        keep_record(checkpoints.folder, folder)
        checkpoints.remove()
    trainer.engine.barrier()  # the same run may be next in turn


def write_run_directory(project: Project, condition: Condition, trainer: Trainer, key: str) -> None:
    """The files of the run directory that a rerun would write again byte for byte, the record last."""
    run, task, folder = trainer.run, trainer.task, trainer.folder
    metrics = task.final_metrics(trainer.curve, trainer.experts)
    write_json(folder / "config.json", {"config": condition.values, "origins": condition.origins})
    record.write_tables(folder, trainer.curve, trainer.experts)
    content = record.run_record(run, condition, key, task, metrics, project.root)
    write_json(folder / "run.json", content | {"warnings": trainer.watch.warnings})
    headline = [f"{name} {metrics[name]:.4g}" for name in HEADLINE if name in metrics]
    trainer.progress.say("done: " + "  ".join(headline))


def make_task(run: Run, data_folder: Path) -> Task:
    """The task of a run's settings, with the model at its start."""
    if run.config.task == "language":
        return LanguageTask(run.config, data_folder, run.seed)
    return VisionTask(run.config, data_folder, run.seed)
