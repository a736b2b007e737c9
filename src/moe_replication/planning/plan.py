"""The plan of a scale: what every condition's runs take, and their sum."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from moe_replication.config.matrix import Condition
from moe_replication.config.needs import data_path
from moe_replication.config.project import Project
from moe_replication.config.run import RunConfig
from moe_replication.config.safety import safety_settings
from moe_replication.errors import BadInput
from moe_replication.files import read_json
from moe_replication.planning.assumptions import FILE, Assumptions, Device, ImageSet, load_assumptions
from moe_replication.planning.flops import (
    ForwardFlops,
    RunFlops,
    forward_flops,
    oracle_flops,
    orthogonalization_flops,
    recomputed_flops,
)
from moe_replication.planning.memory import BYTES, Memory, layout_of, training_memory
from moe_replication.planning.parameters import meta_model, muon_tensors, parameter_counts
from moe_replication.planning.stages import Stage, dag_stages

BYTES_A_TOKEN = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Horizon:
    """Length of a run; `samples` counts tokens or images, `estimated` says that a data set's size is not yet known."""

    steps: int
    samples: int
    evaluations: int
    evaluation_samples: int
    stored_bytes: int
    estimated: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ConditionPlan:
    """One condition: numbers of one of its `runs`; `device_hours` are those of all `devices` of a run together."""

    paper: str
    condition: str
    title: str
    task: str
    parameters_total: int
    parameters_active: int
    horizon: Horizon
    forward: ForwardFlops
    flops: RunFlops
    memory: Memory
    precision: str
    devices: int
    device_hours: float
    snapshot_bytes: int
    runs: int

    @property
    def flops_per_token(self) -> float:
        """All that a run counts, by token (or image) that it trains on."""
        return self.flops.total / self.horizon.samples


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Every condition of a scale, and the bytes of the data sets that they read."""

    scale: str
    description: str
    assumptions: Assumptions
    conditions: tuple[ConditionPlan, ...]
    stages: tuple[Stage, ...]
    data_bytes: int
    checkpoints_kept: int

    def total_hours(self) -> float:
        """Device-hours of every stage."""
        return sum(stage.device_hours for stage in self.stages)

    def total_flops(self) -> int:
        """FLOPs of every stage."""
        return sum(stage.flops for stage in self.stages)

    def disk_bytes(self) -> int:
        """Snapshots that stay, prepared data, and the largest run's checkpoints: kept ones and one being written."""
        snapshots = sum(row.runs * row.snapshot_bytes for row in self.conditions)
        working = max(row.memory.checkpoint for row in self.conditions) * (self.checkpoints_kept + 1)
        return snapshots + self.data_bytes + working


def make_plan(project: Project) -> Plan:
    """Plan of every run of `project`; BadInput when config/planning.yaml does not know its device or data."""
    assumptions = load_assumptions(project.root, project.scale)
    rows, stored = [], {}
    for paper in project.papers.values():
        for condition in paper.conditions.values():
            row = _condition_plan(project, paper.name, condition, assumptions)
            rows.append(row)
            stored[data_path(project.data_folder, condition.config)] = row.horizon.stored_bytes
    return Plan(
        scale=project.scale.name, description=project.scale.description, assumptions=assumptions,
        conditions=tuple(rows), stages=dag_stages(project, rows, assumptions.device), data_bytes=sum(stored.values()),
        checkpoints_kept=safety_settings(project.root).checkpoints_kept,
    )  # fmt: skip


def plan_json(plan: Plan) -> dict:
    """The plan as workflow/schemas/plan.schema.yaml describes it; FLOPs of runs as floats, as they exceed 64 bits."""
    device = plan.assumptions.device
    hours = plan.total_hours()
    return {
        "scale": plan.scale,
        # The names of finished runs' GPUs say nothing of a plan.
        "device": {field.name: getattr(device, field.name) for field in fields(device) if field.name != "names"},
        "conditions": [_condition_json(row) for row in plan.conditions],
        "totals": {
            "conditions": len(plan.conditions),
            "runs": sum(row.runs for row in plan.conditions),
            "flops": float(plan.total_flops()),
            "gpu_hours": hours,
            "dollars": hours * device.dollars_per_hour,
            "memory_gb": max(row.memory.total for row in plan.conditions) / 1e9,
            "disk_gb": plan.disk_bytes() / 1e9,
            "stages": [_stage_json(stage, device) for stage in plan.stages],
        },
    }


def _stage_json(stage: Stage, device: Device) -> dict:
    return {
        "stage": stage.name,
        "jobs": stage.jobs,
        "flops": float(stage.flops),
        "gpu_hours": stage.device_hours,
        "dollars": stage.device_hours * device.dollars_per_hour,
    }


def _condition_json(row: ConditionPlan) -> dict:
    return {
        "paper": row.paper,
        "condition": row.condition,
        "title": row.title,
        "task": row.task,
        "parameters_total": row.parameters_total,
        "parameters_active": row.parameters_active,
        "tokens": row.horizon.samples,
        "steps": row.horizon.steps,
        "horizon_estimated": row.horizon.estimated,
        "forward_flops": asdict(row.forward) | {"total": row.forward.total},
        "flops": float(row.flops.total),
        "flops_per_token": row.flops_per_token,
        "flops_by_part": {part: float(count) for part, count in asdict(row.flops).items()},
        "precision": row.precision,
        "gpus": row.devices,
        "gpu_hours": row.device_hours,
        "memory_gb": row.memory.total / 1e9,
        "memory_phase": row.memory.phase,
        "memory_gb_by_part": {part: size / 1e9 for part, size in row.memory.parts().items()},
        "snapshots_gb": row.snapshot_bytes / 1e9,
        "checkpoint_gb": row.memory.checkpoint / 1e9,
        "runs": row.runs,
    }


def _condition_plan(project: Project, paper: str, condition: Condition, assumptions: Assumptions) -> ConditionPlan:
    config, device = condition.config, assumptions.device
    images = image_set(config, assumptions)
    sides = image_sides(config, images)
    model = meta_model(config, images)
    total, active = parameter_counts(model)
    forward = forward_flops(model, config, sides)
    horizon = run_horizon(config, project.root / data_path(project.data_folder, config), assumptions)
    precision = device.precision_of(config)
    samples = config.training.micro_batch_size * (config.data.sequence_length or 1)
    passes = horizon.steps * config.accumulation * config.engine.world_size
    shards = config.engine.zero_stage, config.engine.world_size
    flops = RunFlops(
        model=3 * forward.total * horizon.samples,
        oracle=passes * oracle_flops(model, config, samples),
        recomputation=horizon.samples * recomputed_flops(forward, config, layout_of(config)),
        evaluation=horizon.evaluations * horizon.evaluation_samples * forward.total,
        newton_schulz=horizon.steps * sum(orthogonalization_flops(muon_tensors(model, config), *shards)),
    )
    memory = training_memory(model, config, layout_of(config), assumptions.process(config), sides)
    return ConditionPlan(
        paper=paper, condition=condition.name, title=condition.title, task=config.task,
        parameters_total=total, parameters_active=active, horizon=horizon, forward=forward, flops=flops, memory=memory,
        devices=config.engine.world_size, device_hours=device.hours(flops.total, precision),
        precision=precision, snapshot_bytes=len(config.training.snapshots) * BYTES[precision] * total,
        runs=len(condition.seeds),
    )  # fmt: skip


def run_horizon(config: RunConfig, data: Path, assumptions: Assumptions) -> Horizon:
    """Steps and samples of a run as training counts them; sizes from the prepared data where it is there."""
    training = config.training
    manifest = read_json(data / "manifest.json") if (data / "manifest.json").is_file() else None
    estimated = False
    if config.task == "vision":
        images = image_set(config, assumptions)
        count, test = (manifest["counts"][s] for s in ("train", "test")) if manifest else (images.train, images.test)
        stored = (count + test) * images.height * images.width * images.channels
        count, test = min(count, config.data.train_images or count), min(test, config.data.test_images or test)
        epoch, per_step = math.ceil(count / training.batch_size), training.batch_size
    else:
        limit, length = config.data.train_tokens, config.data.sequence_length
        whole = assumptions.text_tokens.get(config.data.set, limit)
        count, test = min(limit, whole), config.data.validation_tokens
        estimated = manifest is None and training.epochs is not None and whole < limit
        if manifest:
            count, test = (manifest["splits"][split]["tokens"] for split in ("train", "validation"))
        epoch, per_step = (count - 1) // length // training.batch_size, length * training.batch_size
        stored = BYTES_A_TOKEN * (count + test)
    if training.epochs is None:
        steps, every = training.tokens // per_step, training.evaluate_every
    else:
        steps, every = training.epochs * epoch, training.evaluate_every * epoch
    return Horizon(
        steps=steps, samples=steps * per_step, evaluations=math.ceil(steps / every), evaluation_samples=test,
        stored_bytes=stored, estimated=estimated,
    )  # fmt: skip


def image_set(config: RunConfig, assumptions: Assumptions) -> ImageSet | None:
    """What config/planning.yaml says of a vision run's images; None for text."""
    if config.task != "vision":
        return None
    if config.data.set not in assumptions.images:
        raise BadInput(
            f"{FILE}: images has no entry for data.set = {config.data.set!r}; add its shape, classes and sizes"
        )
    return assumptions.images[config.data.set]


def image_sides(config: RunConfig, images: ImageSet | None) -> tuple[int, int]:
    """Height and width that the model sees; zeros for text."""
    pooling = config.data.pooling or 1
    return (images.height // pooling, images.width // pooling) if images else (0, 0)
