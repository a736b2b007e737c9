"""How many checkpoints are kept, and when training warns; no number of a run depends on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from moe_replication.config.overlays import frozen_settings, plain_settings

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
    return frozen_settings(SafetySettings, plain_settings(root, SAFETY_FILE))
