"""Paper B: its runs, the paper's own rows, looks and names of data sets, and values with means."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from moe_replication.figures import style
from moe_replication.figures.style import Look
from moe_replication.figures.tables import ECOLOGY, mean_band, of_paper
from moe_replication.statistics.studies import with_sets

PAPER_ROW = r"^([VL]\d+|X1)$"  # the paper's own experiments; the other rows are ours
IDENTITY = ("condition", "seed", "rows", "task", "dataset", "data_used")
DATASET_LOOKS = {
    "CIFAR-10": Look(colour=style.BLUE, marker="o"),
    "CIFAR-100": Look(colour=style.VERMILION, marker="^"),
    "TinyImageNet": Look(colour=style.GREEN, marker="D"),
    "language": Look(colour=style.PURPLE, marker="s"),
}


def ecology_runs(runs: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Paper B's runs by the paper's data sets (studies.with_sets): IDENTITY and `columns`, null where not recorded."""
    return with_sets(of_paper(runs, ECOLOGY, [*IDENTITY[:-1], *columns])).select(*IDENTITY, *columns)


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


def set_look(name: str) -> Look:
    """The look of a data set."""
    return DATASET_LOOKS.get(name, Look(colour=style.GREY, marker="v"))


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
