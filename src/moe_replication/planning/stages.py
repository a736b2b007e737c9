"""The DAG's stages that compute with models: training, and what looks at finished weights; CORE is left out."""

from __future__ import annotations

from dataclasses import dataclass

from moe_replication.config.jobs import training_jobs
from moe_replication.config.probe import ProbeSettings, probe_jobs, probe_settings, probed_runs, scanned_runs
from moe_replication.config.project import Project
from moe_replication.config.run import RunConfig
from moe_replication.planning.assumptions import Device
from moe_replication.planning.flops import ForwardFlops

# Assumed tokens of a document of the probe's code and mathematics.
DOMAIN_DOCUMENT_TOKENS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """Jobs of a kind, and the FLOPs and device-hours of all of them."""

    name: str
    jobs: int
    flops: int
    device_hours: float


def probe_flops(config: RunConfig, forward: ForwardFlops, images: int, settings: ProbeSettings) -> int:
    """Forward passes of one run's probe (text) or scan (`images` of the test split; experts once a temperature)."""
    if config.task == "vision":
        once = forward.total - forward.experts
        return images * (once + len(settings.scan_temperatures) * forward.experts)
    tokens = min(settings.validation_tokens, config.data.validation_tokens)
    read = tokens + 2 * settings.domain_documents * DOMAIN_DOCUMENT_TOKENS
    read += tokens if config.routing.rule == "expert_choice" else 0
    if config.routing.rule != "dense":
        read += len(config.training.snapshots) * settings.consistency_tokens
    return forward.total * read


def dag_stages(project: Project, rows: list, device: Device) -> tuple[Stage, ...]:
    """Training, probes and scans of all runs of `rows`, the plan's conditions."""
    settings = probe_settings(project.root, project.scale.name)
    named = {(row.paper, row.condition): row for row in rows}
    training = Stage(
        name="train", jobs=len(list(training_jobs(project))), flops=sum(row.runs * row.flops.total for row in rows),
        device_hours=sum(row.runs * row.device_hours for row in rows),
    )  # fmt: skip
    jobs = list(probe_jobs(project))
    found = [training]
    for name, runs in (("probe", probed_runs(project)), ("scan", scanned_runs(project))):
        flops, hours = 0, 0.0
        for run in runs:
            row = named[run.paper, run.condition]
            count = probe_flops(run.config, row.forward, row.horizon.evaluation_samples, settings)
            flops, hours = flops + count, hours + device.hours(count, row.precision)
        mine = sum(job.command == name for job in jobs)
        found.append(Stage(name=name, jobs=mine, flops=flops, device_hours=hours))
    return tuple(found)
