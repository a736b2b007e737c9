"""How many checkpoints are kept, and when training warns; no number of a run depends on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from moe_replication.config.overlays import frozen_settings, read_layer, values
from moe_replication.config.schema import SCHEMAS, read_yaml, validate

SAFETY_FILE = "config/safety.yaml"


@dataclass(frozen=True, kw_only=True, slots=True)
class SafetySettings:
    """Fields as in workflow/schemas/safety.schema.yaml."""

    checkpoints_kept: int
    spike_window: int
    spike_deviations: float
    spike_rise: float
    starved_share: float
    starved_logs: int


def safety_settings(root: Path | str) -> SafetySettings:
    """config/safety.yaml; BadInput when it breaks the schema."""
    root = Path(root)
    found = values(read_layer(read_yaml(root / SAFETY_FILE), "ours"))
    validate(found, root / SCHEMAS / "safety.schema.yaml", SAFETY_FILE)
    return frozen_settings(SafetySettings, found)
