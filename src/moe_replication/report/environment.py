"""The report's page on machines, versions, data, attempts, hours and energy of the runs of a scale."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from moe_replication.config.data_sets import used_data_sets
from moe_replication.config.project import Project
from moe_replication.planning.assumptions import Energy, load_energy
from moe_replication.planning.estimates import Estimates, planned_hours
from moe_replication.report.cost import (
    ATTEMPTS,
    NOT_COUNTED,
    attempts,
    by_condition,
    carbon_text,
    duration,
    energy_text,
    quantity,
    run_costs,
    totals,
)
from moe_replication.report.html import escape, page, table
from moe_replication.statistics.collect import read_runs

STYLE = "section { overflow-x: auto; } code { overflow-wrap: anywhere; }"
# Heads of the tables of what runs share, and the columns that they stand for.
MACHINE = {"Device": "device", "Processor": "cpu", "Processes": "processes", "Threads": "threads",
           "Precision": "dtype", "System": "platform"}  # fmt: skip
# In words, what statistics/versions.py holds equal.
POOLED = ("training code", "lock file", "data", "device", "precision", "deterministic mode")
VERSIONS = {"Python": "python", "torch": "torch", "DeepSpeed": "deepspeed", "Training code": "training_code",
            "Lock file": "lock_sha256", "Git commit": "git_commit", "Deterministic": "deterministic",
            "Imported": "imported"}  # fmt: skip
HOURS = ("Condition", "Runs", "A run, mean", "least to most", "Device time", "Planned", "Measured / planned", "Energy")
DIGEST = 12
LONG_DIGEST = re.compile(r"[0-9a-f]{40,}")


def environment_page(project: Project, results: Path) -> str:
    """The page as HTML, from results/runs.parquet, config/planning.yaml and, where torch is installed, the plan."""
    energy, planned = load_energy(project.root), planned_hours(project)
    runs = read_runs(results / "runs.parquet")
    costs = run_costs(runs, energy)
    parts = {
        "In short": _summary(costs, energy, planned),
        "Runs, starts and failures": _attempts(runs),
        "Machines": _shared(runs, MACHINE),
        "Versions": _versions(runs),
        "Data": _data(project, runs),
        "Hours by condition": _conditions(costs, planned),
        "What the numbers rest on": _notes(costs, energy, planned),
    }
    sections = (f"<section><h2>{escape(head)}</h2>\n{content}</section>" for head, content in parts.items())
    title = f"Environment and cost, scale {project.scale.name}"
    lead = (
        f"<p>{escape(project.scale.description)}. Hours and counts are from the records of the runs;"
        " watts, overhead and carbon are assumptions, listed below.</p>"
    )
    return page(title, "\n".join([f"<h1>{escape(title)}</h1>", lead, *sections]), style=STYLE)


def _summary(costs: pl.DataFrame, energy: Energy, planned: Estimates | None) -> str:
    sums = totals(costs, energy)
    conditions = costs.select("paper", "condition").n_unique()
    rows = [
        ("Runs", f"{sums.runs} of {conditions} conditions"),
        ("Training time, one run after the other", duration(3600 * sums.wall_hours)),
        *((f"{unit}-hours", quantity(hours)) for unit, hours in sums.hours.items()),
        ("Energy, estimated", energy_text(sums.kwh)),
        ("Carbon dioxide, estimated", carbon_text(sums.kg_co2)),
    ]
    if sums.unknown:
        rows[-2:] = [("Energy", f"not known for {', '.join(sums.unknown)}: add its watts to config/planning.yaml")]
    rows.append(("Against the plan", _against_plan(by_condition(costs, planned), planned)))
    return table(("What", "How much"), [[escape(cell) for cell in row] for row in rows])


def _against_plan(conditions: pl.DataFrame, planned: Estimates | None) -> str:
    if planned is None:
        return "no estimate here: the planner needs torch, which a report from a bundle does without"
    known = conditions.filter(pl.col("planned_hours").is_not_null())
    if known.is_empty():
        return f"not comparable: the plan counts {planned.unit}-hours of a {planned.device}, the runs had other devices"
    measured, expected = known["device_hours"].sum(), known["planned_hours"].sum()
    return (
        f"{quantity(measured)} {planned.unit}-hours measured, {quantity(expected)} planned"
        f" on {planned.device}: {quantity(measured / expected)} times the plan"
    )


def _attempts(runs: pl.DataFrame) -> str:
    head = ("Paper", "Runs", "trained elsewhere", *ATTEMPTS.values())
    rows = [[escape(row[0]), *map(str, row[1:])] for row in attempts(runs).iter_rows()]
    text = (
        "<p>A start is an attempt at training a run; one that resumed went on from a checkpoint. Earlier attempts were"
        " stopped by a signal, ended by an error (failed), diverged, or were killed without a last word. Starts of the"
        " same run under other settings, code or data are counted apart. A run that never finished is in no table: the"
        " DAG ends with an error until every run has its record.</p>"
    )
    return text + table(head, rows, range(1, len(head))) + _retried(runs)


def _retried(runs: pl.DataFrame) -> str:
    again = runs.filter(pl.col("starts") > 1)
    if again.is_empty():
        return "<p>Every run finished in its first attempt.</p>"
    items = (
        f"<li>{escape(row['paper'])} {escape(row['condition'])}, seed {row['seed']}: "
        + ", ".join(f"{word} {row[name]}" for name, word in ATTEMPTS.items() if row[name])
        + "</li>"
        for row in again.iter_rows(named=True)
    )
    return f"<p>Runs that took more than one attempt:</p><ul>{''.join(items)}</ul>"


def _versions(runs: pl.DataFrame) -> str:
    pooled = runs.filter("mixed_versions").height
    text = (
        f"<p><strong>{pooled} runs are pooled with runs of another {' or '.join(POOLED)}.</strong></p>"
        if pooled
        else f"<p>No comparison pools runs that differ in {' or '.join(POOLED)}.</p>"
    )
    return text + _shared(runs, VERSIONS)


def _shared(runs: pl.DataFrame, columns: dict[str, str]) -> str:
    """How many runs share each combination of these columns."""
    counts = runs.group_by(*columns.values(), maintain_order=True).len()
    rows = [[*(_cell(value) for value in row[:-1]), str(row[-1])] for row in counts.iter_rows()]
    return table((*columns, "Runs"), rows, [len(columns)])


def _cell(value: object) -> str:
    """A value in words; a digest by its first digits, whole under the pointer."""
    if value in (None, ""):
        return "not recorded"
    text = escape({True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value))
    return f'<code title="{text}">{text[:DIGEST]}</code>' if LONG_DIGEST.fullmatch(text) else text


def _data(project: Project, runs: pl.DataFrame) -> str:
    entries = {entry.name: entry for entry in used_data_sets(project)}
    counts = runs.group_by("dataset", "data_sha256", maintain_order=True).len()
    rows = [
        (escape(entries[name].title if name in entries else name), _cell(digest), str(count))
        for name, digest, count in counts.iter_rows()
    ]
    text = "<p>The digest is of the prepared data's manifest, which holds the SHA-256 of every file.</p>"
    return text + table(("Data set", "SHA-256", "Runs"), rows, [2])


def _conditions(costs: pl.DataFrame, planned: Estimates | None) -> str:
    found = by_condition(costs, planned)
    parts = []
    for (paper,), rows in found.group_by(["paper"], maintain_order=True):
        cells = [_condition_cells(row) for row in rows.iter_rows(named=True)]
        parts.append(f"<h3>{escape(paper)}</h3>" + table(HOURS, [*cells, _sum_cells(rows)], range(1, len(HOURS))))
    return "".join(parts)


def _condition_cells(row: dict) -> Sequence[str]:
    name = f"{escape(row['condition'])}<br><small>{escape(row['title'])}</small>"
    span = f"{duration(row['least'])} to {duration(row['most'])}"
    return name, str(row["runs"]), duration(row["mean"]), span, *_hours(row)


def _sum_cells(rows: pl.DataFrame) -> Sequence[str]:
    names = ("device_hours", "planned_hours", "kwh")
    sums = {name: None if rows[name].null_count() else rows[name].sum() for name in names}
    return "<strong>all</strong>", str(rows["runs"].sum()), "", "", *_hours(sums)


def _hours(row: dict) -> Sequence[str]:
    measured, planned, kwh = row["device_hours"], row["planned_hours"], row["kwh"]
    return (
        duration(3600 * measured),
        "–" if planned is None else duration(3600 * planned),
        "–" if planned is None else quantity(measured / planned),
        "–" if kwh is None else energy_text(kwh),
    )


def _notes(costs: pl.DataFrame, energy: Energy, planned: Estimates | None) -> str:
    found = (energy.device(name) for name in costs["device"].unique().sort())
    devices = {device.name: device for device in found if device is not None}
    notes = [
        "Device time: time on the clock times GPUs, or times processes and threads on a CPU. Not counted:"
        f" {NOT_COUNTED}.",
        *(
            f"Energy: {device.watts:g} W for a {device.unit} ({device.name}; {device.origins['watts']})"
            for device in devices.values()
        ),
        f"Overhead of the building: {energy.overhead:g} ({energy.origins['overhead']}).",
        "The device is taken at its limit; memory, disks, network and idle processors are not counted.",
        f"Carbon: {energy.grams_co2_per_kwh:g} g a kWh ({energy.origins['grams_co2_per_kwh']}).",
    ]
    if planned is not None:
        notes.append(f"Planned: counted FLOPs on a {planned.device}, as `moe-replication plan` shows them.")
    notes.append("Change the assumptions in config/planning.yaml.")
    return "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in notes) + "</ul>"
