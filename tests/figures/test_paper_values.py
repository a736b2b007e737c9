"""The data file of reported values, and what is refused in it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from moe_replication.errors import BadInput
from moe_replication.figures.paper_values import SCHEMA, of_metric, read_paper_values, reported

SHIPPED = Path(__file__).parents[2] / "config" / "paper_values.yaml"


def test_shipped_values_are_the_papers():
    values = read_paper_values(SHIPPED)
    assert dict(values.schema) == SCHEMA
    et = values.filter((pl.col("condition") == "et") & (pl.col("metric") == "val_loss"))
    assert et["value"].to_list() == [2.844]
    assert reported(values, "core", "A, Table 1")["tc-loss-free"] == 18.031
    assert reported(values, "val_loss", "A, Table 8")["et-no-warmup-no-shared"] == 2.862
    assert reported(values, "val_loss", "A, Table 2") == {
        "d20-dense": 2.751, "d20-tc-aux": 2.687, "d20-ec": 2.621, "d20-et": 2.620,
    }  # fmt: skip
    assert of_metric(values, "token_efficiency")["value"].to_list() == [1.6]
    small_pool = values.filter((pl.col("pool_tokens") == 2048) & (pl.col("metric") == "train_loss"))
    assert small_pool["value"].to_list() == [2.874]
    hard = values.filter(pl.col("dataset") == "TinyImageNet").sort("control_number", "value")
    assert hard["value"].to_list() == [7, 25, 7]
    assert values["place"].null_count() == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [{metric: m, value: 1, label: x}]", r"a\[0\]: 'place' is missing"),
        ("a: [{metric: m, value: 1, label: x, place: p, seed: 1}]", r"unknown key 'seed'"),
        ("a: [{metric: m, value: high, label: x, place: p}]", r"value 'high' is not a number"),
        ("[1, 2]", "expected a mapping"),
        ("a: [", "not valid YAML"),
    ],
)
def test_wrong_entries_are_named(tmp_path, text, message):
    path = tmp_path / "values.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=message):
        read_paper_values(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"none\.yaml: no such file"):
        read_paper_values(tmp_path / "none.yaml")
