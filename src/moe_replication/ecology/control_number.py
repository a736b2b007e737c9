"""The control number E = T*H / (O + B) (paper B)."""

from __future__ import annotations

from moe_replication.config.sections import EcologyConfig
from moe_replication.errors import BadInput


def control_number(
    temperature: float, entropy_weight: float, oracle_weight: float, balance_weight: float
) -> float | None:
    """E, or None where it is undefined (O = B = 0)."""
    denominator = oracle_weight + balance_weight
    return temperature * entropy_weight / denominator if denominator > 0 else None


def meets_threshold(control: float | None, threshold: float) -> bool:
    """Whether E is at least `threshold`; BadInput where E is undefined."""
    if control is None:
        raise BadInput("E = T*H/(O+B) is undefined at O = B = 0, so it meets no threshold; give O or B a weight")
    return control >= threshold


def temperature_at(config: EcologyConfig, progress: float) -> float:
    """T at `progress` in [0, 1] of the horizon: linear from annealing_start, then constant."""
    if config.annealing_start is None:
        return config.temperature
    done = min(1.0, progress / config.annealing_fraction)
    return config.annealing_start + (config.temperature - config.annealing_start) * done
