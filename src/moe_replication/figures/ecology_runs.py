"""Paper B: its runs, their rows of the paper's matrix, and values with means, for several figures."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from moe_replication.figures import style
from moe_replication.figures.tables import ECOLOGY, mean_band, of_paper

# Embedded stand-ins are grouped with the set whose place they take.
SETS = {
    "cifar10": "CIFAR-10",
    "digits-10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "digits-100": "CIFAR-100",
    "tiny-imagenet": "TinyImageNet",
    "digits-200": "TinyImageNet",
}
FACTORS = ("temperature", "entropy_weight", "oracle_weight", "balance_weight")
PAPER_ROW = r"^([VL]\d+|X1)$"  # the paper's own experiments; the other rows are ours
CROSS = "CROSS"  # other routing rules or a shared expert, so that E is not all that differs
IDENTITY = ("condition", "seed", "rows", "task", "dataset", "data_used")
BAND = ("n", "mean", "ci_low", "ci_high")


def ecology_runs(runs: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Paper B's runs: IDENTITY and `columns`. `dataset` is the paper's set or `language`, `data_used` what took its
    place, `rows` never null.
    """
    found = of_paper(runs, ECOLOGY, [*IDENTITY[:-1], *columns])
    group = pl.when(pl.col("task") == "language").then(pl.lit("language")).otherwise(pl.col("dataset").replace(SETS))
    rows = pl.col("rows").cast(pl.List(pl.String)).fill_null(pl.lit([], pl.List(pl.String)))
    return found.with_columns(rows=rows, data_used=pl.col("dataset"), dataset=group).select(*IDENTITY, *columns)


def of_row(runs: pl.DataFrame, row: str) -> pl.DataFrame:
    """The runs of one row of the matrix."""
    return runs.filter(pl.col("rows").list.contains(row))


def without_cross(runs: pl.DataFrame) -> pl.DataFrame:
    """The runs under the paper's own routing rule, without a shared expert."""
    return runs.filter(~pl.col("rows").list.contains(CROSS))


def paper_rows() -> pl.Expr:
    """The paper's own rows among `rows`, in their order."""
    return pl.col("rows").list.eval(pl.element().filter(pl.element().str.contains(PAPER_ROW)))


def with_means(runs: pl.DataFrame, by: Sequence[str], measures: Sequence[str]) -> pl.DataFrame:
    """One row a run and measure (`source` run, `value`), then the mean over seeds with its 95 % t interval (mean).

    Columns: source, `by`, seed, measure, value, n, ci_low, ci_high. Runs that did not record a measure are left out.
    """
    long = runs.unpivot(measures, index=[*by, "seed"], variable_name="measure").drop_nulls("value")
    band = mean_band(long, [*by, "measure"], "value").rename({"mean": "value"})
    own = long.with_columns(source=pl.lit("run"))
    both = pl.concat([own, band.with_columns(source=pl.lit("mean"))], how="diagonal")
    return both.select("source", *by, "seed", "measure", "value", "n", "ci_low", "ci_high")


def set_order(names: pl.Series) -> list[str]:
    """Data sets by name, language last."""
    return sorted(names.unique(), key=lambda name: (name == "language", name))


def set_look(name: str) -> style.Look:
    """The look of a data set."""
    return style.DATASET_LOOKS.get(name, style.Look(colour=style.GREY, marker="v"))


def set_title(name: str, used: pl.Series) -> str:
    """A data set's name with what was used; a stand-in comes first, so that nobody takes it for the paper's set."""
    names = used.unique().sort().to_list()
    stand_in = all(found.startswith("digits-") for found in names)
    return f"{', '.join(names)} (for {name})" if stand_in else f"{name} ({', '.join(names)})"


def reported_dead(values: pl.DataFrame) -> pl.DataFrame:
    """The paper's own counts of dead experts: dataset, control_number, value, label, place."""
    chosen = values.filter((pl.col("paper") == ECOLOGY) & (pl.col("metric") == "dead_experts"))
    return chosen.select("dataset", "control_number", "value", "label", "place")


def share_text(share: float) -> str:
    """A share as text: 0.01 is `1 %`."""
    return f"{100 * share:g} %"
