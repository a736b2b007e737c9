"""What training a run again would take: measured before, else planned."""

from __future__ import annotations

import dataclasses
import importlib.util
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from moe_replication.config.project import Project, Run
from moe_replication.errors import BadInput
from moe_replication.files import read_json
from moe_replication.why.run_states import RunState


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Seconds on the clock, or None where nothing is known; `source` is measured, planned or unknown."""

    seconds: float | None
    source: str


UNKNOWN = Cost(seconds=None, source="unknown")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Measured:
    seconds: float
    steps: int | None


def run_costs(project: Project, states: dict[Run, RunState]) -> dict[Run, Cost]:
    """Of each run its own wall time, else the mean over its condition's seeds, else the planner's estimate.

    An interrupted run costs the steps that are left, where the number of all is known.
    """
    measured: dict[tuple[str, str], dict[int, _Measured]] = {}
    for run in states:
        if (found := _measured(project, run)) is not None:
            measured.setdefault((run.paper, run.condition), {})[run.seed] = found
    planned = _planned(project, {(run.paper, run.condition) for run in states} - set(measured))
    costs = {}
    for run, state in states.items():
        name = (run.paper, run.condition)
        seeds = measured.get(name)
        if seeds is None and name not in planned:
            costs[run] = UNKNOWN
            continue
        if seeds is None:
            seconds, steps, source = *planned[name], "planned"
        else:
            every = list(seeds.values())
            seconds = seeds[run.seed].seconds if run.seed in seeds else statistics.mean(one.seconds for one in every)
            steps, source = next((one.steps for one in every if one.steps), None), "measured"
        left = 1 - state.steps_done / steps if steps else 1
        costs[run] = Cost(seconds=seconds * max(left, 0), source=source)
    return costs


def total(costs: Iterable[Cost]) -> Cost:
    """The sum; planned when a part is, unknown when a part is."""
    costs = list(costs)
    sources = {cost.source for cost in costs}
    if "unknown" in sources:
        return UNKNOWN
    return Cost(
        seconds=sum(cost.seconds or 0 for cost in costs), source="planned" if "planned" in sources else "measured"
    )


def _measured(project: Project, run: Run) -> _Measured | None:
    folder = project.root / run.folder
    try:
        seconds = read_json(folder / "cost.json").get("wall_seconds")
    except BadInput:
        return None
    try:
        steps = read_json(folder / "run.json").get("counts", {}).get("steps")
    except BadInput:
        steps = None
    return None if seconds is None else _Measured(seconds=seconds, steps=steps)


def _planned(project: Project, conditions: set[tuple[str, str]]) -> dict[tuple[str, str], tuple[float, int]]:
    """Seconds on the clock and steps of one run of each condition; empty on an install without torch."""
    papers = {}
    for paper in project.papers.values():
        kept = {name: row for name, row in paper.conditions.items() if (paper.name, name) in conditions}
        if kept:
            papers[paper.name] = dataclasses.replace(paper, conditions=kept)
    # The planner builds every model, on torch.
    if not papers or importlib.util.find_spec("torch") is None:
        return {}
    from moe_replication.planning.plan import make_plan

    rows = make_plan(dataclasses.replace(project, papers=papers)).conditions
    return {(row.paper, row.condition): (3600 * row.device_hours / row.devices, row.horizon.steps) for row in rows}
