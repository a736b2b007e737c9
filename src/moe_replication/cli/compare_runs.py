"""What `moe-replication compare A B` prints: two conditions over paired seeds, claims on them, and where MLflow is."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from rich.table import Table

from moe_replication.files import read_json
from moe_replication.statistics.collect import read_runs
from moe_replication.statistics.pairs import PairedDifference, common_paper, paired_differences
from moe_replication.statistics.versions import check_pool
from moe_replication.tracking.links import comparison
from moe_replication.tracking.readings import claim_conditions


def pair_table(results: Path, first: str, second: str, metric: str | None, *, mixed: bool) -> tuple[Table, str]:
    """The table of differences of two conditions of results/{scale}, and the lines below it.

    BadInput as its parts, and for runs of several versions in these two conditions unless `mixed`.
    """
    runs = read_runs(results / "runs.parquet")
    paper = common_paper(runs, first, second)
    of_pair = runs.filter(pl.col("paper") == paper, pl.col("condition").is_in((first, second)))
    warnings = check_pool(of_pair, mixed=mixed)
    table = Table(title=f"{first} minus {second}, paired seeds, 95 % t interval ({paper}, {results.name})")
    for column in ("metric", first, second, "difference", "interval", "exact p", "smallest p", "n", "note"):
        text = column in ("metric", "note")
        table.add_column(column, justify="left" if text else "right", no_wrap=column not in (first, second, "note"))
    for row in paired_differences(runs, paper, first, second, metric):
        table.add_row(*_cells(row))
    pair = (first, second)
    return table, "\n".join([*warnings, comparison_line(results, paper, pair), *claim_lines(results, paper, pair)])


def comparison_line(results: Path, paper: str, conditions: tuple[str, ...]) -> str:
    """Address of the MLflow page that compares the summary runs, or how to get one."""
    status = _read(results / "mirror.json")
    found = [status.get("summaries", {}).get(f"{paper}/{name}") for name in conditions]
    if None in found:
        return f"MLflow: not mirrored yet; run moe-replication track --scale {results.name}"
    page = comparison(found[0]["experiment"], [run["run"] for run in found])
    return f"MLflow (make ui SCALE={results.name}): {status['address']}{page}"


def claim_lines(results: Path, paper: str, pair: tuple[str, str]) -> list[str]:
    """Claims that name both conditions, each with its page in MLflow; of those on just these two also the finding."""
    claims = _read(results / "scorecard.json").get("claims", [])
    pages = _read(results / "mirror.json").get("claims", {})
    on_pair, wider, without_page = [], [], []
    for claim in claims:
        named = set(claim_conditions(claim)) if claim["paper"] == paper else set()
        page = pages.get(claim["id"], {}).get("compare")
        if named == set(pair):
            on_pair += [f"  {claim['id']}: {claim['sentence']}", *([f"    {page}"] if page else [])]
        elif named > set(pair) and page is None:
            without_page.append(claim["id"])
        elif named > set(pair):
            wider.append(f"  {claim['id']}, {len(named)} conditions: {page}")
    lines = ["Claims on this pair:", *on_pair] if on_pair else []
    lines += ["Claims on these and further conditions:", *wider] if wider else []
    lines += [f"Further claims, without a page in MLflow: {', '.join(without_page)}"] if without_page else []
    return lines


def _read(path: Path) -> dict:
    return read_json(path) if path.is_file() else {}


def _cells(row: PairedDifference) -> tuple[str, ...]:
    found = row.difference
    interval = "" if found.low is None else f"[{found.low:+.4g}, {found.high:+.4g}]"
    p_value = "" if row.p is None else f"{row.p:.3g}"
    estimates = (f"{row.first:.5g}", f"{row.second:.5g}", f"{found.mean:+.4g}")
    return (row.metric, *estimates, interval, p_value, f"{row.p_minimum:.3g}", str(found.n), row.note)
