"""How CORE is scored, and which runs the workflow scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from moe_replication.config.jobs import is_imported
from moe_replication.config.overlays import frozen_settings, plain_settings
from moe_replication.config.probe import probe_folder, probed_runs
from moe_replication.config.project import Project, Run

# The summary last: its existence says that the table is complete.
CORE_FILES = ("core.parquet", "core.json")
CORE_ROOT = "core-bundle"


@dataclass(frozen=True, kw_only=True, slots=True)
class CoreSettings:
    """Fields as in workflow/schemas/core.schema.yaml."""

    url: str
    tasks: tuple[str, ...]
    delimiter: str
    order_seed: int
    shots_seed: int
    max_examples: int | None
    window: int | Literal["training"] | None
    scales: tuple[str, ...]
    batch_tokens: int


def core_settings(root: Path) -> CoreSettings:
    """config/core.yaml; BadInput when it breaks the schema."""
    return frozen_settings(CoreSettings, plain_settings(root, "config/core.yaml"))


def core_runs(project: Project, settings: CoreSettings) -> tuple[Run, ...]:
    """Paper A's runs where data.roots.core-bundle is set or the scale wants CORE; of imported runs the scored ones."""
    wanted = project.roots.get(CORE_ROOT) is not None or project.scale.name in settings.scales
    return tuple(
        run for run in probed_runs(project) if (_is_scored(project, run) if is_imported(project, run) else wanted)
    )


def _is_scored(project: Project, run: Run) -> bool:
    return all((project.root / probe_folder(run) / file).is_file() for file in CORE_FILES)
