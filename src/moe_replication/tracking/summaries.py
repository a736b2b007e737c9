"""A summary per condition: mean and interval over seeds, difference to its baseline, verdicts, curves with bands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from moe_replication.config.project import Project
from moe_replication.figures.style import seeds_text
from moe_replication.files import read_json, sha256_file, sha256_json
from moe_replication.statistics.claims import UNJUDGED
from moe_replication.statistics.collect import read_parquet, read_runs
from moe_replication.statistics.compare import SCORED
from moe_replication.tracking.curves import bands, draw_bands
from moe_replication.tracking.entries import DataSet, Entry, condition_tags, control_tag, data_set
from moe_replication.tracking.readings import VERSUS, claims_on, interval_text, p_text, readings

# Columns of summary.parquet and comparisons.parquet -> names of metrics: MLflow sorts them, so that the mean and its
# interval come first; the capital of VERSUS puts the answer first of all. Its compare page cuts names at 28 characters.
ESTIMATE = {"mean": "mean", "ci_low": "mean_low", "ci_high": "mean_high", "n": "n", "sd": "sd"}
DIFFERENCE = {
    **{"difference": "mean", "ci_low": "mean_low", "ci_high": "mean_high", "g_paired": "mean_g", "n": "n"},
    **{"p_t": "p_t", "p_t_holm": "p_t_holm", "p_sign_flip": "p_exact", "p_minimum": "p_least"},
}


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


def summary_entry(project: Project, tables: Tables, paper: str, condition: str, part: Entry) -> Entry:
    """One condition over its seeds. `part`: the entry of one of its runs, whose settings they share."""
    own = (pl.col("paper") == paper) & (pl.col("condition") == condition)
    rows = tables.runs.filter(own)
    claims = claims_on(tables.claims, paper, condition)
    baseline = project.papers[paper].conditions[condition].baseline
    tags = condition_tags(project, paper, condition) | control_tag(rows.row(0, named=True))
    tags |= {"kind": "summary", "mlflow.runName": f"{condition} ({seeds_text([rows.height])})"}
    tags |= {"seeds": ", ".join(str(seed) for seed in rows["seed"].sort())}
    tags |= {"baseline": baseline} if baseline is not None else {}
    tags |= {f"claim.{claim['id']}": claim["verdict"] for claim in claims}
    summary, differences = tables.summary.filter(own), tables.comparisons.filter(own)
    params = part.params | readings(summary, differences, claims)
    metrics = _metrics(_scored_first(summary), ESTIMATE)
    metrics |= {f"{VERSUS}/{name}": value for name, value in _metrics(differences, DIFFERENCE).items()}
    band = bands(tables.curves.filter(own))
    files = _figures(project, claims)
    data_sets = _data_sets(project, paper, condition, rows)
    content = [tags, params, metrics, band.write_json(), str(data_sets)]
    content += [{path.name: sha256_file(path) for path in files}]
    return Entry(
        paper=paper,
        identity=f"summary/{condition}",
        tags=tags,
        params=params,
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
        found = interval_text(row["difference"], row["ci_low"], row["ci_high"], sign="+")
        lines.append(
            f"- {row['metric']}: {found} against {row['baseline']}, n = {row['n']} paired seeds, p: {p_text(row)}"
        )
    return lines


def _scored_first(summary: pl.DataFrame) -> pl.DataFrame:
    """The metric that MLflow draws unasked is the first: dead experts in paper B, validation loss in paper A."""
    rank = pl.col("metric").replace_strict(SCORED, range(len(SCORED)), default=-1)
    return summary.sort(rank, descending=True, maintain_order=True)


def _metrics(rows: pl.DataFrame, names: Mapping[str, str]) -> dict[str, float]:
    return {
        f"{row['metric']}/{name}": float(row[column])
        for row in rows.iter_rows(named=True)
        for column, name in names.items()
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
