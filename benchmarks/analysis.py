"""From run records to verdicts and pictures: collect, compare, judge and every module of figures, on made-up runs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
from tests.figures.probe_tables import probe_tables
from tests.made_runs import PAPER_A, PAPER_B, SEEDS, write_run

from benchmarks import results, timing
from benchmarks.prepared import ROOT
from moe_replication.config import Project, load_project
from moe_replication.config.analysis import analysis_settings
from moe_replication.figures.build import draw_figure
from moe_replication.statistics.collect import collect
from moe_replication.statistics.compare import write_comparisons
from moe_replication.statistics.probes import LABELS, STACKED
from moe_replication.statistics.scorecard import write_scorecard

SCALE = "smoke"


def run(quick: bool) -> list[dict]:
    """Rows of every step of the analysis; figures by module."""
    project = load_project(ROOT, {"scale": SCALE})
    rounds = 1 if quick else 5
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        runs = _made_up_runs(root)
        tables = root / "results" / SCALE
        steps = _statistics(project, runs, tables)
        rows = _rows("statistics", steps, rounds, len(runs))
        return rows + _rows("figures", _figures(project, root), rounds, len(runs))


def _rows(case: str, steps: dict[str, Callable[[], object]], rounds: int, runs: int) -> list[dict]:
    seconds = timing.in_turn(steps, rounds, warm_up=min(1, rounds - 1))
    found = [results.row("analysis", case, name, times, runs=runs) for name, times in seconds.items()]
    return sorted(found, key=lambda row: -row["seconds"])


def _made_up_runs(root: Path) -> list[Path]:
    """The folders of three seeds of every condition of the tests' records."""
    papers = (("expert-threshold", PAPER_A), ("expert-ecology", PAPER_B))
    return [
        write_run(root, paper, condition, seed, scale=SCALE)
        for paper, conditions in papers
        for condition in conditions
        for seed in SEEDS
    ]


def _statistics(project: Project, runs: list[Path], tables: Path) -> dict[str, Callable[[], object]]:
    """collect, compare and claims, in this order: each reads what the one before wrote."""
    made = {f"probe-{name}": pl.DataFrame(schema=LABELS | schema) for name, schema in STACKED.items()}
    for name, table in (made | probe_tables()).items():
        table.write_parquet(tables / f"{name}.parquet")
    analysis = analysis_settings(ROOT)
    conditions = [(paper.name, row) for paper in project.papers.values() for row in paper.conditions.values()]
    baselines = {(paper, row.name): row.baseline for paper, row in conditions}
    return {
        "collect": lambda: collect(runs, tables, {}),
        "compare": lambda: write_comparisons(tables, baselines, analysis, {}),
        "claims": lambda: write_scorecard(tables, project.claims, SCALE, analysis),
    }


def _figures(project: Project, root: Path) -> dict[str, Callable[[], object]]:
    modules: dict[str, list[str]] = {}
    for name, figure in project.figures.items():
        modules.setdefault(figure.module, []).append(name)

    def draw(names: list[str]) -> None:
        for name in names:
            draw_figure(name, project.figures, SCALE, root / "results", root / "figures", ROOT)

    return {module: lambda names=names: draw(names) for module, names in modules.items()}
