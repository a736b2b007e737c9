"""config/scheduling.yaml: leases of GPUs, requests to a cluster, requeueing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from moe_replication.config.overlays import frozen_settings, plain_settings


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaseSettings:
    """Where the locks lie, and what share of a GPU's memory is given away."""

    folder: str
    memory_share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestSettings:
    """From planned to requested memory and time, and the CPUs of a job that takes all of a machine."""

    process_gb: float
    gpu_process_gb: float
    gpu_context_gb: float
    memory_factor: float
    runtime_factor: float
    start_minutes: int
    longest_minutes: int
    all_cpus: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RequeueSettings:
    """How often a stopped job queues itself again."""

    at_most: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SchedulingSettings:
    """Contents of config/scheduling.yaml; meanings in workflow/schemas/scheduling.schema.yaml."""

    lease: LeaseSettings
    requests: RequestSettings
    requeue: RequeueSettings


def scheduling_settings(root: Path) -> SchedulingSettings:
    """config/scheduling.yaml below `root`; BadInput when it breaks the schema."""
    found = plain_settings(root, "config/scheduling.yaml")
    return SchedulingSettings(
        lease=frozen_settings(LeaseSettings, found["lease"]),
        requests=frozen_settings(RequestSettings, found["requests"]),
        requeue=frozen_settings(RequeueSettings, found["requeue"]),
    )
