"""The planner's hours for whoever compares them with measured ones, also on an install without torch."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from moe_replication.config.project import Project


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimates:
    """Device-hours of one run by (paper, condition), and the device and unit that they are counted on."""

    device: str
    unit: str
    run_hours: dict[tuple[str, str], float]


def planned_hours(project: Project) -> Estimates | None:
    """The plan of every condition; None without torch, on which the planner builds every model."""
    if importlib.util.find_spec("torch") is None:
        return None
    from moe_replication.planning.plan import make_plan

    plan = make_plan(project)
    return Estimates(
        device=plan.assumptions.device.name,
        unit=plan.assumptions.device.unit,
        run_hours={(row.paper, row.condition): row.device_hours for row in plan.conditions},
    )
