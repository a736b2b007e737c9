"""Data sets, rows and sides of the rule on a handful of runs."""

from __future__ import annotations

import polars as pl
import pytest

from moe_replication.statistics import studies

RUNS = pl.DataFrame(
    {
        "condition": ["v1", "real", "cross", "l4", "other"],
        "task": ["vision", "vision", "vision", "language", "vision"],
        "dataset": ["digits-10", "cifar10", "digits-200", "wikitext-103", "mine"],
        "rows": [["V1", "ISO"], ["ISO"], ["CROSS"], ["L4"], None],
    }
)


def test_stand_ins_take_the_papers_name_and_texts_are_one_set():
    found = studies.with_sets(RUNS)
    assert found["dataset"].to_list() == ["CIFAR-10", "CIFAR-10", "TinyImageNet", "language", "mine"]
    assert found["data_used"].to_list() == RUNS["dataset"].to_list()
    assert found["rows"].to_list()[-1] == []


def test_rows_select_runs_and_a_run_without_rows_is_not_crossed():
    found = studies.with_sets(RUNS)
    assert studies.of_row(found, "ISO")["condition"].to_list() == ["v1", "real"]
    assert studies.without_cross(found)["condition"].to_list() == ["v1", "real", "l4", "other"]


@pytest.mark.parametrize(
    ("control", "side"), [(0.5, True), (0.15 / (0.1 + 0.2), True), (0.4999999, False), (6 / 11, True)]
)
def test_the_side_of_e_does_not_depend_on_rounding_of_the_sum(control, side):
    assert studies.meets(control, 0.5) is side
