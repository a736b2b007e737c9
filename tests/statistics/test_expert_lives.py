"""Experts that come back and experts that stay dead, on courses of usage that can be followed by hand."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from moe_replication.config.analysis import analysis_settings
from moe_replication.statistics.expert_lives import expert_lives

ANALYSIS = analysis_settings(Path(__file__).parents[2])
RUN = {"paper": "expert-ecology", "condition": "v6", "seed": 0}
ALIVE, DEAD = 0.5, 0.0


def _experts(*layers: list[list[float]]) -> pl.DataFrame:
    """Usage of each expert of each layer at epochs 1, 2, ..., the last first: the order of rows says nothing."""
    rows = [
        {**RUN, "layer": layer, "expert": expert, "epoch": float(epoch), "usage": usage}
        for layer, courses in enumerate(layers)
        for expert, course in enumerate(courses)
        for epoch, usage in enumerate(course, start=1)
    ]
    return pl.DataFrame(rows[::-1])


def _lives(*layers: list[list[float]]) -> tuple[float, float]:
    row = expert_lives(_experts(*layers), ANALYSIS).row(0, named=True)
    return row["experts_returned"], row["experts_dead_lasting"]


@pytest.mark.parametrize(
    ("course", "returned", "lasting"),
    [
        ([ALIVE, DEAD, DEAD, ALIVE], 1, 0),
        ([DEAD, DEAD, ALIVE, ALIVE], 0, 0),  # the repair of a start
        ([DEAD, ALIVE, DEAD, ALIVE], 1, 0),
        ([ALIVE, ALIVE, ALIVE, DEAD], 0, 1),
        ([DEAD, DEAD, DEAD, DEAD], 0, 1),
        ([ALIVE, ALIVE, ALIVE, ALIVE], 0, 0),
    ],
)
def test_course_of_one_expert(course, returned, lasting):
    assert _lives([course]) == (returned, lasting)


def test_one_percent_is_alive():
    assert _lives([[ALIVE, ANALYSIS.dead_share]]) == (0, 0)
    assert _lives([[ALIVE, ANALYSIS.dead_share - 1e-9]]) == (0, 1)


def test_lasting_is_dead_at_every_late_census():
    """Of 40 epochs 0.919 are 36.8: epochs 37 to 40 are late."""
    early, late = [DEAD] * 36, [DEAD] * 4
    assert _lives([early + late]) == (0, 1)
    assert _lives([[*early[:-1], ALIVE, *late]]) == (0, 1)
    assert _lives([[*early, *late[:-1], ALIVE]]) == (0, 0)
    assert _lives([[*early, ALIVE, *late[1:]]]) == (0, 0)


def test_experts_are_added_and_the_layer_with_most_counts():
    back, gone = [ALIVE, DEAD, ALIVE], [ALIVE, DEAD, DEAD]
    assert _lives([back, back, gone], [back, gone, gone]) == (2, 2)


def test_runs_are_apart_and_runs_without_a_census_have_none():
    other = _experts([[ALIVE, DEAD], [ALIVE, ALIVE]]).with_columns(seed=pl.lit(1, pl.Int64))
    paper_a = _experts([[ALIVE, DEAD]]).with_columns(condition=pl.lit("et"), epoch=pl.lit(None, pl.Float64))
    table = expert_lives(pl.concat([_experts([[ALIVE, DEAD, ALIVE]]), other, paper_a]), ANALYSIS).sort("seed")
    assert table.rows() == [("expert-ecology", "v6", 0, 1.0, 0.0), ("expert-ecology", "v6", 1, 0.0, 1.0)]
