"""Tables of losses by domain and of CORE by task: means, intervals, and cells."""

from __future__ import annotations

import polars as pl
import pytest

from figures.probe_tables import TASKS, no_probes, probe_tables
from moe_replication.figures import probe_tables as figures

NAMES = {"paper": "expert-threshold", "condition": "et", "title": "ET", "rule": "expert_threshold"}


def _documents(**columns: list) -> pl.DataFrame:
    return pl.DataFrame({**NAMES, "seed": [0, 1], "domain": "code", "documents": 64, "tokens": 900, **columns})


def test_ends_of_the_intervals_over_documents_average_over_seeds():
    row = figures.document_losses(_documents(loss=[3.0, 3.2], ci_low=[2.5, 2.9], ci_high=[3.5, 3.5])).row(0, named=True)
    assert (row["n"], row["documents"], row["loss"]) == (2, 64, pytest.approx(3.1))
    assert (row["ci_low"], row["ci_high"]) == (pytest.approx(2.7), pytest.approx(3.5))
    assert row["seeds_high"] == pytest.approx(3.1 + 12.7062 * 0.1, abs=1e-3)  # t(0.975, 1) * sd / sqrt(2)


def test_one_document_has_no_interval(tmp_path, info):
    table = _documents(loss=[3.0, 3.2], ci_low=[None, None], ci_high=[None, None]).with_columns(
        pl.col("ci_low", "ci_high").cast(pl.Float64)
    )
    figures.draw_documents({"probe-documents": table}, info, tmp_path / "table")
    assert (tmp_path / "table.md").read_text().splitlines()[-1] == "| ET | 2 | 3.100 |"


def test_domains_stand_side_by_side_and_what_is_missing_was_not_run(tmp_path, info):
    table = probe_tables(("tc", "et"), seeds=2)["probe-documents"]
    table = table.filter((pl.col("condition") != "tc") | (pl.col("domain") != "math"))
    figures.draw_documents({"probe-documents": table}, info, tmp_path / "table")
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[0] == "| condition | n | validation, 64 documents | code, 64 documents | math, 64 documents |"
    assert [line.split(" | ")[-1] == "not run |" for line in lines[2:]] == [True, False]


def _scores() -> pl.DataFrame:
    rows = [("a", 0, 0.5, 0.25), ("b", 0, 0.5, 0.75), ("a", 1, 0.6, 0.35), ("b", 1, 0.7, 0.85)]
    table = pl.DataFrame(rows, schema=["task", "seed", "accuracy", "centered"], orient="row")
    labels = {key: pl.lit(value) for key, value in NAMES.items()}
    return table.with_columns(kind=pl.lit("schema"), shots=0, examples=10, cropped=0.0, **labels)


def test_core_is_the_mean_over_tasks_seed_by_seed():
    """Seed 0: 50 %, seed 1: 60 %."""
    data = figures.task_scores(_scores())
    assert data["task"].to_list() == ["a", "b", figures.MEAN]
    whole = data.row(-1, named=True)
    assert (whole["n"], whole["centered"], whole["examples"]) == (2, pytest.approx(55.0), 20)
    assert whole["ci_high"] == pytest.approx(55 + 12.7062 * 5, abs=1e-2)
    assert data["centered"].to_list()[:2] == pytest.approx([30.0, 80.0])


def test_a_task_that_a_condition_lacks_was_not_run(tmp_path, info):
    other = _scores().filter((pl.col("task") == "a") & (pl.col("seed") == 0)).with_columns(condition=pl.lit("tc"))
    figures.draw_core_tasks({"probe-core": pl.concat([_scores(), other])}, info, tmp_path / "table")
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[0] == "| task | tc n = 1 | et n = 2 |"
    assert lines[2:4] == ["| a | 25.0 | 30.0 ± 63.5 |", "| b | not run | 80.0 ± 63.5 |"]


def test_the_picture_has_the_papers_conditions_and_the_csv_all(tmp_path, info):
    table = probe_tables(("tc", "et"), seeds=1)["probe-core"]
    table = pl.concat([table, table.with_columns(condition=pl.lit("et-beta-0.99"))])
    figures.draw_core_tasks({"probe-core": table}, info, tmp_path / "table")
    assert "beta" not in (tmp_path / "table.md").read_text()
    drawn = pl.read_csv(tmp_path / "table.csv")
    assert set(drawn["condition"]) == {"tc", "et", "et-beta-0.99"}
    assert set(drawn["task"]) == {*TASKS, figures.MEAN}


@pytest.mark.parametrize(
    ("draw", "columns", "sentence"),
    [
        (figures.draw_documents, figures.LOSSES, "no probes of paper A at scale cpu"),
        (figures.draw_core_tasks, figures.SCORES, "CORE was not run at scale cpu"),
    ],
)
def test_without_probes_a_table_says_so(tmp_path, info, draw, columns, sentence):
    draw(no_probes(), info, tmp_path / "empty")
    assert (tmp_path / "empty.csv").read_text() == ",".join(columns) + "\n"
    assert sentence in (tmp_path / "empty.md").read_text()
