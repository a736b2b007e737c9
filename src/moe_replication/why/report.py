"""The answer as a table for people and as JSON for other tools."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from moe_replication.why.targets import Target
from moe_replication.why.words import UP_TO_DATE

_UNITS = ((3600, "h"), (60, "min"), (1, "s"))


def why_text(scale: str, targets: Sequence[Target]) -> RenderableType:
    """State, cost and reason of every target, and the total of what is to be made; fits 120 columns."""
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    table.add_column("target", max_width=48, overflow="fold")
    table.add_column("state", no_wrap=True)
    table.add_column("cost", justify="right", no_wrap=True)
    table.add_column("reason", overflow="fold")
    for target in targets:
        cost = duration(target.cost.seconds, planned=target.cost.source == "planned")
        table.add_row(target.title, target.state, cost, "; ".join(target.reasons))
    notes = "Cost: seconds on the clock, one job after the other, as measured before; ~ planned; ? not known."
    return Group(Text(f"Why, at scale {scale}\n"), table, Text(f"\n{total_line(targets)}"), Text(notes))


def total_line(targets: Sequence[Target]) -> str:
    """How many targets are to be made, and what that costs."""
    found = rebuild(targets)
    if not found["targets"]:
        return f"Nothing to make: {len(targets)} of {len(targets)} targets are up to date."
    parts = [
        *([f"{duration(found['measured_seconds'])} measured"] if found["measured_seconds"] else []),
        *([f"{duration(found['planned_seconds'], planned=True)} planned"] if found["planned_seconds"] else []),
        *([f"{found['unknown']} of unknown cost"] if found["unknown"] else []),
    ]
    return f"To make: {found['targets']} of {len(targets)} targets, {', '.join(parts)}."


def why_json(scale: str, targets: Sequence[Target]) -> dict:
    """{scale, targets: [{rules, title, state, reasons, cost_seconds, cost_source, runs, files}], rebuild}."""
    return {
        "scale": scale,
        "targets": [
            {
                "rules": list(target.rules),
                "title": target.title,
                "state": target.state,
                "reasons": list(target.reasons),
                "cost_seconds": target.cost.seconds,
                "cost_source": target.cost.source,
                "runs": [str(run.folder) for run in target.runs],
                "files": list(target.files),
            }
            for target in targets
        ],
        "rebuild": rebuild(targets),
    }


def rebuild(targets: Sequence[Target]) -> dict:
    """Number of targets to be made, their measured and planned seconds, and how many cost an unknown time."""
    costs = [target.cost for target in targets if target.state != UP_TO_DATE]
    seconds = {
        source: sum(cost.seconds for cost in costs if cost.source == source) for source in ("measured", "planned")
    }
    return {
        "targets": len(costs),
        "measured_seconds": seconds["measured"],
        "planned_seconds": seconds["planned"],
        "unknown": sum(cost.source == "unknown" for cost in costs),
    }


def duration(seconds: float | None, planned: bool = False) -> str:
    """`3.4 min`, `~2 h` for a plan, `?` for nothing known."""
    if seconds is None:
        return "?"
    size, unit = next((item for item in _UNITS if seconds >= item[0]), _UNITS[-1])
    return f"{'~' if planned else ''}{seconds / size:.1f} {unit}"
