"""The paper's numbers beside ours: at the same share of the horizon, or not at all."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from moe_replication.config import load_project
from moe_replication.figures.paper_values import read_paper_values
from moe_replication.report.values import Ours, value_rows

ROOT = Path(__file__).parents[2]
PAPER = "expert-ecology"
CLAIM = {"conditions": ["x1-4444", "v6", "v5-random-warmup"]}


@pytest.fixture(scope="module")
def project():
    return load_project(ROOT, {"scale": "demo", "papers": [PAPER]})


def census(condition: str, epochs: list[int], **columns: list[float | None]) -> pl.DataFrame:
    """Two seeds with a census at these epochs, the second's values 0.2 above the first's."""
    parts = [
        pl.DataFrame({"condition": condition, "seed": seed, "epoch": list(map(float, epochs))}).with_columns(
            pl.Series(name, [None if value is None else value + 0.2 * seed for value in values], dtype=pl.Float64)
            for name, values in columns.items()
        )
        for seed in (0, 1)
    ]
    return pl.concat(parts).with_columns(paper=pl.lit(PAPER))


def ours(curves: pl.DataFrame, *ends: tuple[str, str, int, float]) -> Ours:
    columns = {"condition": pl.String, "metric": pl.String, "n": pl.Int64, "mean": pl.Float64}
    table = pl.DataFrame(list(ends), schema=columns, orient="row")
    return Ours(ends=table.with_columns(ci_low=None, ci_high=None), curves=curves)


def shown(project, metric: str, found: Ours) -> list[tuple[str, str, str]]:
    """(the paper's, ours, n) of every row, without tags."""
    reported = read_paper_values(ROOT / "config/paper_values.yaml")
    rows = value_rows(project, PAPER, None, [CLAIM | {"metric": metric}], found, reported)
    plain = [[" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in row] for row in rows]
    return [(row[2], row[4], row[5]) for row in plain]


def test_a_value_of_an_epoch_stands_beside_ours_at_the_same_share_of_the_horizon(project):
    # Epochs 30 and 99 of the paper's 100 are epochs 3 and 10 of our 10, whatever stands at the end of training.
    curves = census("x1-4444", [1, 3, 10], tier_share_2=[0.1, 0.3, 0.5])
    rows = shown(project, "tier_share_2", ours(curves, ("x1-4444", "tier_share_2", 2, 9.9)))
    assert [(row[0].split(" ")[0], row[1].split(" [")[0], row[2]) for row in rows] == [
        ("0.009", "0.4", "2"),
        ("0.091", "0.6", "2"),
    ]
    assert "epoch 30" in rows[0][0]
    assert rows[0][1].endswith(" epoch 3 of 10")
    assert rows[1][1].endswith(" epoch 10 of 10")


def test_a_value_whose_share_of_the_horizon_has_no_census_is_left_out(project):
    # 30 of 100 is epoch 0.6 of 2: the census of epoch 1 is another time of training.
    curves = census("x1-4444", [1, 2], tier_share_2=[0.1, 0.3])
    assert [row[0].split(" ")[0] for row in shown(project, "tier_share_2", ours(curves))] == ["0.091"]


def test_rows_without_a_census_are_passed_over(project):
    curves = census("x1-4444", [1, 3, 10], tier_share_2=[0.1, None, 0.5])
    assert [row[0].split(" ")[0] for row in shown(project, "tier_share_2", ours(curves))] == ["0.091"]


def test_counts_by_epoch_are_taken_from_the_curve_of_the_count(project):
    curves = census("v6", [1, 8, 10], dead_experts=[12.0, 4.0, 3.0])
    assert [(row[0].split(" ")[0], row[1].split(" [")[0]) for row in shown(project, "dead_experts", ours(curves))] == [
        ("12", "12.1"),
        ("4", "4.1"),
    ]


def test_a_peak_is_of_the_whole_training(project):
    found = ours(pl.DataFrame(schema=["epoch", "condition"]), ("v5-random-warmup", "dead_experts_peak", 3, 8.0))
    assert shown(project, "dead_experts_peak", found) == [("13 CIFAR-100", "8 highest in training", "3")]
