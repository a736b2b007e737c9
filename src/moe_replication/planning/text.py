"""A plan as text for people."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from moe_replication.planning.memory import PARTS, Memory
from moe_replication.planning.plan import ConditionPlan, Plan

_SHORT = {"optimizer": "optim", "gradients": "grads", "activations": "activ", "workspace": "work", "overhead": "over"}
_UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


def plan_text(plan: Plan) -> RenderableType:
    """Costs by condition, totals, memory by part, and what the numbers rest on; fits 120 columns."""
    papers = dict.fromkeys(row.paper for row in plan.conditions)
    costs = [_cost_table(plan, paper) for paper in papers]
    return Group(
        Text(f"Plan of scale {plan.scale}: {plan.description}"), *costs, Text(totals_line(plan)),
        Text(stages_line(plan)), _memory_table(plan), *(Text(f"- {note}") for note in notes(plan)),
    )  # fmt: skip


def totals_line(plan: Plan) -> str:
    """The sum over every run."""
    device, hours = plan.assumptions.device, plan.total_hours()
    runs = sum(row.runs for row in plan.conditions)
    return (
        f"Total: {len(plan.conditions)} conditions, {runs} runs, {plan.total_flops():.3g} FLOPs,"
        f" {_number(hours)} {device.unit}-hours, {_number(hours * device.dollars_per_hour)} $,"
        f" {gigabytes(plan.disk_bytes())} GB of disk"
    )


def stages_line(plan: Plan) -> str:
    """What each stage of the DAG has in the sum."""
    unit = plan.assumptions.device.unit
    stages = [f"{s.name} {s.jobs} jobs, {_number(s.device_hours)} {unit}-hours" for s in plan.stages if s.jobs]
    return f"By stage: {'; '.join(stages)}; data, CORE, statistics, figures and report are not counted."


def notes(plan: Plan) -> list[str]:
    """How the numbers were counted, and the assumptions with their origins."""
    device = plan.assumptions.device
    used = sorted({row.precision for row in plan.conditions})
    peaks = ", ".join(f"{device.peak_tflops[p]:g} TFLOP/s in {p}" for p in used)
    lines = [
        f"GB: memory of one process; on: {device.unit}s of a run; a run: its time on the clock;"
        f" hours: {device.unit}-hours of all runs.",
        "Active: routers, shared expert and the routed experts that a token meets on average; a token: FLOPs by token"
        " (or image) trained on.",
        "FLOPs: 2 a weight and token, attention scores over the whole square, backward twice the forward; evaluation,"
        " what is recomputed, oracle trials and Muon's Newton-Schulz included"
        f" ({_share(plan, 'newton_schulz')} of all).",
        f"Hours: counted FLOPs at {device.utilization:.0%} of {peaks} ({device.name};"
        f" {device.origins['peak_tflops.' + used[0]]}). Utilization: {device.origins['utilization']}.",
        f"Price: {device.dollars_per_hour:g} $ a {device.unit}-hour ({device.origins['dollars_per_hour']}).",
        f"Memory: GB = 10^9 bytes; a {device.name} has {device.memory_gb:g} GB. The peak is that of the pass, of the"
        " reduction of gradients or of the step, none of which needs all parts (planning/memory.py).",
        f"Disk: snapshots (kept), prepared data, {plan.checkpoints_kept + 1} checkpoints (to resume) of the largest"
        " run.",
    ]
    large = [row.condition for row in plan.conditions if row.memory.total > device.memory_gb * 1e9]
    if large:
        lines.append(f"Too large for a {device.name}: {', '.join(large)}; lower training.micro_batch_size.")
    if any(row.horizon.estimated for row in plan.conditions):
        lines.append("~ steps estimated: the data set is not prepared yet, its size is that of config/planning.yaml.")
    return [*lines, "Change the assumptions in config/planning.yaml."]


def _cost_table(plan: Plan, paper: str) -> Table:
    device = plan.assumptions.device
    rows = [row for row in plan.conditions if row.paper == paper]
    samples = "tokens" if all(row.task == "language" for row in rows) else "samples"
    table = plain_table(f"\n{paper}")
    table.padding = (0, 1, 0, 0)  # one space between columns: paper B's long names need the rest
    table.add_column("condition", no_wrap=True)
    names = ("total", "active", samples, "steps", "FLOPs", "a token", "GB", "on", "a run", "runs", "hours", "$")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        hours = row.runs * row.device_hours
        steps = f"{'~' if row.horizon.estimated else ''}{row.horizon.steps:,}"
        table.add_row(
            row.condition, _count(row.parameters_total), _count(row.parameters_active), _count(row.horizon.samples),
            steps, _power(row.flops.total), _power(row.flops_per_token), gigabytes(row.memory.total), str(row.devices),
            _duration(row.device_hours / row.devices), str(row.runs), _number(hours),
            _number(hours * device.dollars_per_hour),
        )  # fmt: skip
    return table


def _memory_table(plan: Plan) -> Table:
    """Memory by part, conditions with equal numbers in one row."""
    groups: dict[tuple[str, Memory], list[ConditionPlan]] = {}
    for row in plan.conditions:
        groups.setdefault((row.precision, row.memory), []).append(row)
    table = plain_table(
        "\nMemory of one process by part, its peak and phase, and disk of a run, in GB (+n: n more like this one)"
    )
    table.add_column("condition", no_wrap=True)
    for name in (*(_SHORT.get(part, part) for part in PARTS), "peak", "in", "kept", "resume"):
        table.add_column(name, justify="right", no_wrap=True)
    for (_, memory), rows in groups.items():
        sizes = [gigabytes(size) for size in (*memory.parts().values(), memory.total)]
        more = f" +{len(rows) - 1}" if len(rows) > 1 else ""
        disk = gigabytes(rows[0].snapshot_bytes), gigabytes(memory.checkpoint)
        table.add_row(rows[0].condition + more, *sizes, memory.phase, *disk)
    return table


def plain_table(title: str) -> Table:
    """An empty table without lines."""
    return Table(
        box=None, pad_edge=False, padding=(0, 1), header_style="bold", title=title, title_justify="left", title_style=""
    )


def _share(plan: Plan, part: str) -> str:
    whole = sum(row.runs * getattr(row.flops, part) for row in plan.conditions)
    return f"{whole / sum(row.runs * row.flops.total for row in plan.conditions):.1%}"


def _count(number: int) -> str:
    for unit, letter in _UNITS:
        if number >= unit:
            return f"{number / unit:.2f}{letter}"
    return str(number)


def _power(flops: float) -> str:
    return f"{flops:.2e}".replace("e+", "e")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}".rstrip(".")


def _duration(hours: float) -> str:
    for unit, letter in ((1, "h"), (1 / 60, "min")):
        if hours >= unit:
            return f"{_number(hours / unit)} {letter}"
    return f"{_number(3600 * hours)} s"


def gigabytes(size: float) -> str:
    """Bytes as GB, three digits below one."""
    return f"{size / 1e9:,.1f}" if size >= 1e9 else f"{size / 1e9:.3f}"
