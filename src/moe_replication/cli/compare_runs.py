"""What `moe-replication compare A B` prints: two conditions over paired seeds, and where MLflow shows them."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from moe_replication.files import read_json
from moe_replication.statistics.collect import read_runs
from moe_replication.statistics.pairs import PairedDifference, common_paper, paired_differences
from moe_replication.tracking.links import comparison


def pair_table(results: Path, first: str, second: str, metric: str | None) -> tuple[Table, str]:
    """The table of differences of two conditions of results/{scale}, and the line below it; BadInput as its parts."""
    runs = read_runs(results / "runs.parquet")
    paper = common_paper(runs, first, second)
    table = Table(title=f"{first} minus {second}, paired seeds, 95 % t interval ({paper}, {results.name})")
    for column in ("metric", first, second, "difference", "interval", "exact p", "smallest p", "n", "note"):
        table.add_column(column, justify="left" if column in ("metric", "note") else "right")
    for row in paired_differences(runs, paper, first, second, metric):
        table.add_row(*_cells(row))
    return table, comparison_line(results, paper, (first, second))


def comparison_line(results: Path, paper: str, conditions: tuple[str, ...]) -> str:
    """Address of the MLflow page that compares the summary runs, or how to get one."""
    path = results / "mirror.json"
    status = read_json(path) if path.is_file() else {}
    found = [status.get("summaries", {}).get(f"{paper}/{name}") for name in conditions]
    if None in found:
        return f"MLflow: not mirrored yet; run moe-replication track --scale {results.name}"
    page = comparison(found[0]["experiment"], [run["run"] for run in found])
    return f"MLflow (make ui SCALE={results.name}): {status['address']}{page}"


def _cells(row: PairedDifference) -> tuple[str, ...]:
    found = row.difference
    interval = "" if found.low is None else f"[{found.low:+.4g}, {found.high:+.4g}]"
    p_value = "" if row.p is None else f"{row.p:.3g}"
    estimates = (f"{row.first:.5g}", f"{row.second:.5g}", f"{found.mean:+.4g}")
    return (row.metric, *estimates, interval, p_value, f"{row.p_minimum:.3g}", str(found.n), row.note)
