"""Definitions that the analysis of paper B rests on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from moe_replication.config.overlays import frozen_settings, plain_settings
from moe_replication.files import sha256_json

ANALYSIS_FILE = "config/analysis.yaml"


@dataclass(frozen=True, kw_only=True, slots=True)
class AnalysisSettings:
    """Thresholds, shares and seeds; fields as in workflow/schemas/analysis.schema.yaml."""

    rule_threshold: float
    dead_share: float
    collapse_share: float
    starved_share: float
    middle_fraction: float
    late_fraction: float
    overfit_limit: float
    resamples: int
    resample_seed: int
    power_share: float
    power_shift: float
    power_draws: int
    holdout_seed: int
    holdout_share: float
    ridge: float


def analysis_settings(root: Path | str) -> AnalysisSettings:
    """config/analysis.yaml; BadInput when it breaks the schema."""
    return frozen_settings(AnalysisSettings, plain_settings(root, ANALYSIS_FILE))


def analysis_digest(settings: AnalysisSettings) -> str:
    """12 hex digits of the values; runs register them beside the claims, since they decide metrics and verdicts."""
    return sha256_json(asdict(settings))[:12]
