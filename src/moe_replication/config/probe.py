"""What the probe of finished runs measures on, and which runs one job probes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from moe_replication.config.figures import PROBE_TABLES, SCAN_TABLES
from moe_replication.config.jobs import RunGroup, job_parts
from moe_replication.config.needs import EMBEDDED_TEXT, data_path
from moe_replication.config.overlays import frozen_settings, lay_over, read_layer, values
from moe_replication.config.project import Project, Run
from moe_replication.config.schema import SCHEMAS, read_yaml, validate

METRICS_FILE = "metrics.json"
SCANNED_ROW = "X2"


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeSettings:
    """Sample sizes and bins; fields as in workflow/schemas/probe.schema.yaml."""

    validation_tokens: int
    domain_documents: int
    consistency_tokens: int
    loss_bins: int
    position_bin_ratio: float
    logit_bin_width: float
    gate_bins: int
    shift_batch_tokens: tuple[int, ...]
    shift_seed: int
    token_map_samples: int
    token_map_tokens: int
    scan_temperatures: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class ProbeJob(RunGroup):
    """Runs that one job probes with a command, the manifest of what it reads and the tables that it writes."""

    command: str
    manifest: str
    tables: tuple[str, ...]

    @property
    def files(self) -> list[str]:
        """Every file that the probe writes."""
        return [file for run in self.runs for file in probe_paths(run)]


def probe_settings(root: Path, scale: str) -> ProbeSettings:
    """config/probe.yaml with the scale's own sizes; BadInput when they break the schema."""
    path = root / "config/scales" / f"{scale}.yaml"
    tree = read_layer(read_yaml(root / "config/probe.yaml"), "ours")
    tree = lay_over(tree, read_layer(read_yaml(path).get("probe", {}), f"ours: scale {scale}"))
    found = values(tree)
    validate(found, root / SCHEMAS / "probe.schema.yaml", f"config/probe.yaml at scale {scale}")
    return frozen_settings(ProbeSettings, found)


def probed_runs(project: Project) -> tuple[Run, ...]:
    """The language models without ecology losses: paper A's runs."""
    return tuple(run for run in project.runs if run.config.task == "language" and run.config.ecology is None)


def scanned_runs(project: Project) -> tuple[Run, ...]:
    """Paper B's vision models of experiment X2, whose evaluation temperature is scanned."""
    return tuple(
        run for run in project.runs if run.config.task == "vision" and SCANNED_ROW in project.condition(run).rows
    )


def probe_jobs(project: Project) -> Iterator[ProbeJob]:
    """Every probed or scanned run in one job of the size that the scale's `job` says."""
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in (*probed_runs(project), *scanned_runs(project)):
        key = (run.paper, run.config.task) if project.scale.job == "paper" else (run.paper, run.condition)
        groups.setdefault(key, []).append(run)
    for runs in groups.values():
        for part in job_parts(project, runs):
            config = part[0].config
            if config.task == "vision":
                manifest, command, tables = data_path(project.data_folder, config), "scan", SCAN_TABLES
            else:
                manifest, command, tables = domains_folder(project.data_folder, part[0]), "probe", PROBE_TABLES
            yield ProbeJob(runs=part, command=command, manifest=str(manifest / "manifest.json"), tables=tables)


def probe_files(tables: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the files that a probe with these tables leaves."""
    return (*(f"{table}.parquet" for table in tables), METRICS_FILE)


def probe_paths(run: Run) -> list[str]:
    """Every file of a run's probe or scan."""
    tables = SCAN_TABLES if run.config.task == "vision" else PROBE_TABLES
    return [f"{probe_folder(run)}/{file}" for file in probe_files(tables)]


def probe_folder(run: Run) -> Path:
    """Where a run's probe is written, relative to the project's root."""
    return Path("results", run.scale, "probes", run.paper, run.condition, f"seed-{run.seed}")


def domains_folder(data_folder: str, run: Run) -> Path:
    """Out-of-domain documents that suit the run's text: embedded beside the embedded corpus, else the public sets."""
    return Path(data_folder, "domains", "embedded" if run.config.data.set in EMBEDDED_TEXT else "public")
