"""A summary per condition: mean and interval over seeds, difference to its baseline, verdicts, curves with bands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from moe_replication.config.project import Project
from moe_replication.files import read_json, sha256_file, sha256_json
from moe_replication.statistics.collect import read_parquet, read_runs
from moe_replication.tracking.curves import bands, draw_bands
from moe_replication.tracking.entries import DataSet, Entry, condition_tags, control_tag, data_set

ESTIMATE = ("mean", "sd", "ci_low", "ci_high", "n")
# Of comparisons.parquet.
DIFFERENCE = ("difference", "ci_low", "ci_high", "n", "p_t", "p_t_holm", "p_sign_flip", "p_minimum", "g_paired")
# The capital puts the answer first in MLflow's sorted list of metrics.
DIFFERENCE_GROUP = "Difference"
UNJUDGED = ("untestable", "not_run")


@dataclass(frozen=True, kw_only=True)
class Tables:
    """What the statistics say of a scale: tables by file, and the claims of the scorecard."""

    runs: pl.DataFrame
    curves: pl.DataFrame
    summary: pl.DataFrame
    comparisons: pl.DataFrame
    claims: tuple[dict, ...]


def read_tables(results: Path) -> Tables:
    """The tables and the scorecard of results/{scale}; BadInput names a missing or faulty one."""
    key = ("paper", "condition")
    return Tables(
        runs=read_runs(results / "runs.parquet"),
        curves=read_parquet(results / "curves.parquet", (*key, "seed", "step", "train_loss")),
        summary=read_parquet(results / "summary.parquet", (*key, "metric", *ESTIMATE)),
        comparisons=read_parquet(results / "comparisons.parquet", (*key, "baseline", "metric", *DIFFERENCE)),
        claims=tuple(read_json(results / "scorecard.json")["claims"]),
    )


def claims_on(claims: Iterable[dict], paper: str, condition: str) -> list[dict]:
    """The claims that name a condition, on either side."""
    return [claim for claim in claims if claim["paper"] == paper and condition in claim_conditions(claim)]


def claim_conditions(claim: dict) -> list[str]:
    """Every condition that a claim compares, first side first."""
    return [*claim["conditions"], *(claim["against"] or [])]


def summary_entry(project: Project, tables: Tables, paper: str, condition: str, part: Entry) -> Entry:
    """One condition over its seeds. `part`: the entry of one of its runs, whose settings they share."""
    own = (pl.col("paper") == paper) & (pl.col("condition") == condition)
    rows = tables.runs.filter(own)
    claims = claims_on(tables.claims, paper, condition)
    baseline = project.papers[paper].conditions[condition].baseline
    tags = condition_tags(project, paper, condition) | control_tag(rows.row(0, named=True))
    tags |= {"kind": "summary", "mlflow.runName": f"{condition} over seeds"}
    tags |= {"seeds": ", ".join(str(seed) for seed in rows["seed"].sort())}
    tags |= {"baseline": baseline} if baseline is not None else {}
    tags |= {f"claim.{claim['id']}": claim["verdict"] for claim in claims}
    metrics = _metrics(tables.summary.filter(own), ESTIMATE)
    differences = _metrics(tables.comparisons.filter(own), DIFFERENCE)
    metrics |= {f"{DIFFERENCE_GROUP}/{name}": value for name, value in differences.items()}
    band = bands(tables.curves.filter(own))
    files = _figures(project, claims)
    data_sets = _data_sets(project, paper, condition, rows)
    content = [tags, part.params, metrics, band.write_json(), str(data_sets)]
    content += [{path.name: sha256_file(path) for path in files}]
    return Entry(
        paper=paper,
        identity=f"summary/{condition}",
        tags=tags,
        params=part.params,
        metrics=metrics,
        curve=band,
        data_sets=data_sets,
        files=files,
        drawings={"curves.png": partial(draw_bands, band, rows["title"][0], rows.height)},
        content=sha256_json(content),
    )


def headline(tables: Tables, paper: str, condition: str) -> list[str]:
    """Markdown lines on a condition: every metric that is compared, with its difference to the baseline."""
    own = (pl.col("paper") == paper) & (pl.col("condition") == condition)
    lines = []
    for row in tables.comparisons.filter(own).iter_rows(named=True):
        interval = "" if row["ci_low"] is None else f" [{row['ci_low']:.4g}, {row['ci_high']:.4g}]"
        p_value = "" if row["p_sign_flip"] is None else f", exact p {row['p_sign_flip']:.3g}"
        least = f" (smallest possible {row['p_minimum']:.3g})" if p_value else ""
        lines.append(
            f"- {row['metric']}: {row['difference']:+.4g}{interval} against {row['baseline']},"
            f" n = {row['n']} paired seeds{p_value}{least}"
        )
    return lines


def _metrics(rows: pl.DataFrame, columns: tuple[str, ...]) -> dict[str, float]:
    return {
        f"{row['metric']}/{column}": float(row[column])
        for row in rows.iter_rows(named=True)
        for column in columns
        if row[column] is not None
    }


def _figures(project: Project, claims: list[dict]) -> tuple[Path, ...]:
    """The drawn figures behind the verdicts."""
    judged = [claim for claim in claims if claim["verdict"] not in UNJUDGED]
    names = sorted({name for claim in judged for name in claim["figures"]})
    paths = [project.root / "figures" / project.scale.name / f"{name}.png" for name in names]
    return tuple(path for path in paths if path.is_file())


def _data_sets(project: Project, paper: str, condition: str, rows: pl.DataFrame) -> tuple[DataSet, ...]:
    runs = [(project.run(paper, condition, row["seed"]), row) for row in rows.iter_rows(named=True)]
    return tuple(dict.fromkeys(data_set(project, run, row) for run, row in runs))
