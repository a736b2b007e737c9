"""The papers' tables beside ours: rows, cells, and the text file."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pytest

from moe_replication.config.analysis import analysis_settings
from moe_replication.figures import paper_tables
from moe_replication.figures.paper_values import SCHEMA
from moe_replication.figures.style import FigureInfo

ANALYSIS = analysis_settings(Path(__file__).parents[2])

RUNS = pl.DataFrame(
    {
        "paper": "expert-threshold",
        "condition": ["dense", "et", "et"],
        "seed": [0, 0, 1],
        "title": ["Dense", "ET", "ET"],
        "rule": ["dense", "expert_threshold", "expert_threshold"],
        "pool_tokens": [None, 8192, 8192],
        "val_loss": [3.4, 3.0, 3.2],
        "core": [None, 10.0, 12.0],
        "parameters_total": [1_500_000, 2, 2],
        "steps": 100,
    }
)


def test_table_1_has_the_papers_nine_rows_in_its_order(paper_values):
    data = paper_tables.result_rows(RUNS, paper_values, "A, Table 1")
    assert data["condition"].to_list() == [
        "dense", "tc", "tc-aux", "tc-loss-free", "ec-sequence", "ec-8k", "ec-64k", "ec-batch", "et",
    ]  # fmt: skip
    assert data["val_loss_paper"].to_list() == [3.002, 2.893, 2.892, 2.898, 2.910, 2.845, 2.841, 2.843, 2.844]
    assert data["core_paper"].to_list()[-1] == 19.876
    et = data.row(-1, named=True)
    half = 12.7062 * math.sqrt(0.02) / math.sqrt(2)  # t(0.975, 1) * sd / sqrt(2)
    assert (et["val_loss_n"], et["val_loss"], et["core"]) == (2, pytest.approx(3.1), pytest.approx(11.0))
    assert et["val_loss_half_width"] == pytest.approx(half, abs=1e-3)


def test_cells_say_what_was_not_run(paper_values):
    cells = paper_tables.result_cells(paper_tables.result_rows(RUNS, paper_values, "A, Table 1"))
    assert cells[0] == ["dense", "-", "-", "1", "3.400", "3.002", "not run", "15.743"]
    assert cells[1] == ["TC", "-", "-", "-", "not run", "2.893", "not run", "17.983"]
    assert cells[-1] == [
        "ET, beta .999, warm-up", "0.5M to 500M", "8k", "2", "3.100 ± 1.271", "2.844", "11.00 ± 12.71", "19.876",
    ]  # fmt: skip


def test_table_8_shows_the_same_condition_as_table_1(paper_values):
    data = paper_tables.result_rows(RUNS, paper_values, "A, Table 8")
    assert data.select("condition", "val_loss_paper", "core_paper").rows()[2] == ("et-no-warmup", 2.844, 16.867)


def test_settings_have_a_row_a_condition_and_only_recorded_columns():
    data = paper_tables.setting_rows(RUNS)
    assert data.columns == ["condition", "title", "rule", "pool_tokens", "parameters_total", "steps", "seeds"]
    assert paper_tables.setting_cells(data.drop("condition")) == [
        ["Dense", "dense", "-", "1.5M", "100", "1"],
        ["ET", "expert_threshold", "8k", "2", "100", "2"],
    ]


def test_the_text_is_a_markdown_table(tmp_path, info):
    tables = {"runs": RUNS.drop("core"), "probe-metrics": RUNS.select("paper", "condition", "seed").clear()}
    paper_tables.draw_table_2(tables, info, tmp_path / "table")
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[0].startswith("| method | pool, paper | pool, ours | n | CE, ours |")
    assert lines[2] == "| dense d20 | - | - | - | not run | 2.751 | not run | 20.43 |"
    assert len(lines) == 6
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".md", ".pdf", ".png"]


def test_without_rows_there_is_a_sentence_in_every_file(tmp_path):
    info = FigureInfo(analysis=ANALYSIS, scale="demo", paper_values=pl.DataFrame(schema=SCHEMA))
    tables = {"runs": RUNS.clear().drop("core"), "probe-metrics": RUNS.select("paper", "condition", "seed").clear()}
    paper_tables.draw_table_1(tables, info, tmp_path / "one")
    paper_tables.draw_settings(tables, info, tmp_path / "five")
    assert "Table 1 are not in the data file" in (tmp_path / "one.md").read_text()
    assert "no runs of paper A at scale demo" in (tmp_path / "five.md").read_text()
