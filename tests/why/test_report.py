"""`why`: the table, its last line and the JSON."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from moe_replication.why.costs import Cost
from moe_replication.why.report import duration, rebuild, total_line, why_json, why_text
from moe_replication.why.targets import Target, find_targets


def row(title: str, state: str, seconds: float | None, source: str, *reasons: str) -> Target:
    return Target(
        rules=("rule",), title=title, state=state, reasons=reasons, files=(),
        cost=Cost(seconds=seconds, source=source),
    )  # fmt: skip


def test_total_counts_what_is_to_be_made():
    rows = [
        row("a", "up to date", 500.0, "measured"), row("b", "stale", 90.0, "measured"),
        row("c", "interrupted", 30.0, "measured"), row("d", "missing", 7200.0, "planned"),
        row("e", "missing", None, "unknown"),
    ]  # fmt: skip
    assert rebuild(rows) == {"targets": 4, "measured_seconds": 120.0, "planned_seconds": 7200.0, "unknown": 1}
    assert total_line(rows) == "To make: 4 of 5 targets, 2.0 min measured, ~2.0 h planned, 1 of unknown cost."
    assert total_line(rows[:1]) == "Nothing to make: 1 of 1 targets are up to date."


def test_durations():
    assert [duration(0.42), duration(90), duration(7200, planned=True), duration(None)] == [
        "0.4 s", "1.5 min", "~2.0 h", "?",
    ]  # fmt: skip


def test_table_fits_120_columns_and_loses_nothing(project, jobs):
    found = [*find_targets(project, jobs), row("x" * 150, "stale", 1.0, "measured", "y" * 300)]
    text = StringIO()
    Console(file=text, width=120).print(why_text("smoke", found))
    assert max(map(len, text.getvalue().splitlines())) <= 120
    assert text.getvalue().count("x") >= 150
    assert text.getvalue().count("y") >= 300


def test_json_has_every_target_and_the_total(project, jobs):
    found = why_json("smoke", find_targets(project, jobs, "tc"))
    assert [(target["title"], target["state"], target["cost_seconds"]) for target in found["targets"]] == [
        ("train expert-threshold tc, seeds 0, 1", "up to date", 4.0),
        ("train expert-threshold tc, seed 2", "stale", 2.0),
    ]
    assert found["targets"][0]["rules"] == ["train_tc_0", "train_tc_1"]
    assert found["rebuild"] == {"targets": 1, "measured_seconds": 2.0, "planned_seconds": 0, "unknown": 0}
