"""Paper A's models in tables of numbers: loss by domain with its interval over documents, and CORE by task."""

from __future__ import annotations

import textwrap
from pathlib import Path

import polars as pl

from moe_replication.figures import style
from moe_replication.figures.shift import domain_order
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import THRESHOLD, mean_band, of_paper
from moe_replication.figures.typeset import NOT_RUN, save_empty_table, save_table

DOCUMENTS = ("condition", "title", "seed", "domain", "documents", "tokens", "loss", "ci_low", "ci_high")
LOSSES = (
    "condition", "title", "domain", "documents", "tokens", "n", "loss", "ci_low", "ci_high", "seeds_low", "seeds_high",
)  # fmt: skip
CORE = ("condition", "title", "seed", "task", "kind", "shots", "examples", "accuracy", "centered", "cropped")
SCORES = (
    "condition", "title", "task", "kind", "shots", "examples", "n", "accuracy", "centered", "ci_low", "ci_high",
    "cropped",
)  # fmt: skip
# Paper A's Tables 1, 2 and 8; the other conditions of an experiment are in the CSV.
IN_PICTURE = (
    "dense", "tc", "tc-aux", "tc-loss-free", "ec-sequence", "ec-8k", "ec-64k", "ec-batch", "et", "ec-no-shared",
    "et-no-warmup", "et-no-warmup-no-shared", "d20-dense", "d20-tc-aux", "d20-ec", "d20-et",
)  # fmt: skip
MEAN = "mean over tasks"


def document_losses(table: pl.DataFrame) -> pl.DataFrame:
    """Loss by condition and domain, mean over seeds; ci_low, ci_high are the ends of the runs' 95 % intervals over
    documents, each averaged over seeds, seeds_low and seeds_high the 95 % t interval over seeds (columns of LOSSES).
    """
    rows = of_paper(table, THRESHOLD, DOCUMENTS)
    keys = ["condition", "title", "domain"]
    seeds = mean_band(rows, keys, "loss").rename({"mean": "loss", "ci_low": "seeds_low", "ci_high": "seeds_high"})
    ends = rows.group_by(keys, maintain_order=True).agg(
        pl.col("documents", "tokens").max(), pl.col("ci_low", "ci_high").mean()
    )
    return seeds.join(ends, on=keys, how="left", nulls_equal=True, maintain_order="left").select(LOSSES)


def draw_documents(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-table-documents: loss by condition and domain with its interval over documents."""
    with style.styled():
        data = document_losses(tables["probe-documents"])
        if data.is_empty():
            return save_empty_table(f"no probes of paper A at scale {info.scale}", LOSSES, out_base)
        domains = domain_order(data)
        header = ["condition", "n"]
        for domain in domains:
            sizes = data.filter(pl.col("domain") == domain)["documents"]
            header.append(f"{domain},\n{sizes.max():,} documents")
        cells = []
        for condition in style.condition_order(data):
            own = data.filter(pl.col("condition") == condition)
            found = {row["domain"]: row for row in own.iter_rows(named=True)}
            losses = [_loss(found.get(domain)) for domain in domains]
            cells.append([own["title"][0] or condition, str(own["n"].max()), *losses])
        save_table(header, cells, data, out_base)


def _loss(row: dict | None) -> str:
    if row is None:
        return NOT_RUN
    ends = "" if row["ci_low"] is None else f" [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
    return f"{row['loss']:.3f}{ends}"


def task_scores(table: pl.DataFrame) -> pl.DataFrame:
    """Accuracy and centred accuracy (with 95 % t interval over seeds) in % by condition and task (columns of SCORES).

    Rows of task MEAN are CORE: the mean over tasks, seed by seed.
    """
    rows = of_paper(table, THRESHOLD, CORE).with_columns(pl.col("accuracy", "centered", "cropped") * 100)
    run = ["condition", "title", "seed"]
    whole = rows.group_by(run, maintain_order=True).agg(
        pl.col("accuracy", "centered", "cropped").mean(), task=pl.lit(MEAN), examples=pl.col("examples").sum()
    )
    rows = pl.concat([rows, whole], how="diagonal_relaxed")
    keys = ["condition", "title", "task"]
    band = mean_band(rows, keys, "centered").rename({"mean": "centered"})
    others = rows.group_by(keys, maintain_order=True).agg(
        pl.col("kind", "shots", "examples").first(), pl.col("accuracy", "cropped").mean()
    )
    return band.join(others, on=keys, how="left", nulls_equal=True, maintain_order="left").select(SCORES)


def draw_core_tasks(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-table-core-tasks: centred accuracy by task and condition."""
    with style.styled():
        data = task_scores(tables["probe-core"])
        if data.is_empty():
            return save_empty_table(f"CORE was not run at scale {info.scale}", SCORES, out_base)
        present = style.condition_order(data)
        order = [name for name in IN_PICTURE if name in present] or present
        found = {(row["condition"], row["task"]): row for row in data.iter_rows(named=True)}
        tasks = [*(task for task in data["task"].unique(maintain_order=True) if task != MEAN), MEAN]
        cells = [[task, *(_score(found.get((name, task))) for name in order)] for task in tasks]
        save_table(["task", *(_head(name, found[name, MEAN]["n"]) for name in order)], cells, data, out_base)


def _head(condition: str, seeds: int) -> str:
    return "\n".join([*textwrap.wrap(condition.replace("-", " "), 10), f"n = {seeds}"])


def _score(row: dict | None) -> str:
    if row is None:
        return NOT_RUN
    half = "" if row["ci_high"] is None else f" ± {row['ci_high'] - row['centered']:.1f}"
    return f"{row['centered']:.1f}{half}"
