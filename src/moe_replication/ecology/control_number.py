"""The control number E = T*H / (O + B) (paper B)."""

from __future__ import annotations

from moe_replication.config.run import EcologyConfig


def control_number(
    temperature: float, entropy_weight: float, oracle_weight: float, balance_weight: float
) -> float | None:
    """E, or None where it is undefined (O = B = 0)."""
    denominator = oracle_weight + balance_weight
    return temperature * entropy_weight / denominator if denominator > 0 else None


def temperature_at(config: EcologyConfig, progress: float) -> float:
    """T at `progress` in [0, 1] of the horizon: linear from annealing_start, then constant."""
    if config.annealing_start is None:
        return config.temperature
    done = min(1.0, progress / config.annealing_fraction)
    return config.annealing_start + (config.temperature - config.annealing_start) * done
