"""Every figure from a collected results tree, by name."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from moe_replication.errors import BadInput
from moe_replication.figures.build import FIGURES, draw_figure
from moe_replication.statistics.collect import collect

ROOT = Path(__file__).parents[2]
VALUES = ROOT / "config" / "paper_values.yaml"


@pytest.fixture
def collected(finished_results):
    results = finished_results / "results"
    collect(sorted((results / "smoke" / "runs").glob("*/*/seed-*")), results / "smoke")
    return results


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_draws_and_redraws_the_same_bytes(collected, tmp_path, name):
    first = draw_figure(name, "smoke", collected, tmp_path / "first", VALUES)
    second = draw_figure(name, "smoke", collected, tmp_path / "second", VALUES)
    assert first == tmp_path / "first" / "smoke" / name
    for kind in ("png", "pdf", "csv"):
        assert first.with_name(f"{name}.{kind}").read_bytes() == second.with_name(f"{name}.{kind}").read_bytes()
    assert pl.read_csv(f"{first}.csv").height > 5


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_caption(name):
    assert len((ROOT / "workflow" / "report" / f"{name}.rst").read_text().split()) > 20


def test_an_unknown_figure_names_the_known_ones(tmp_path):
    with pytest.raises(BadInput, match=r"figure 'a-fig99': no such figure; known: a-fig01"):
        draw_figure("a-fig99", "smoke", tmp_path, tmp_path, VALUES)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"runs\.parquet: no such file"):
        draw_figure("b-dead-vs-e", "smoke", tmp_path, tmp_path, VALUES)
    assert not list(tmp_path.rglob("*.png"))
