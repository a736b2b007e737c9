from __future__ import annotations

import polars as pl
import pytest

from moe_replication.figures.comparisons import draw_ecology, draw_pools, draw_threshold, pool_rows
from moe_replication.statistics.compare import compare

PAPER = "expert-threshold"
BASELINES = {(PAPER, "et"): "tc", (PAPER, "tc"): "dense"}


@pytest.fixture
def comparisons(paper_a_tables, info):
    runs = paper_a_tables["runs"]
    twin = runs.filter(condition="tc").with_columns(condition=pl.lit("twin"))
    reported = {(PAPER, "et", "tc", "val_loss"): -0.049}
    return compare(pl.concat([runs, twin]), BASELINES | {(PAPER, "twin"): "tc"}, info.analysis, reported)


@pytest.fixture
def pools(comparisons):
    """CORE: et beats tc by a point on every task and seed; domains: et is better on code, as good on math."""
    seeds = range(3)
    core = [(PAPER, name, seed, task, 0.1 * number + 0.001 * seed + (0.01 if name == "et" else 0.0))
            for name in ("et", "tc") for number, task in enumerate("abcd") for seed in seeds]  # fmt: skip
    losses = [(PAPER, name, seed, domain, 3.0 - (0.5 if (name, domain) == ("et", "code") else 0.0))
              for name in ("et", "tc") for domain in ("code", "math") for seed in seeds]  # fmt: skip
    keys = ["paper", "condition", "seed"]
    return {
        "comparisons": comparisons,
        "probe-core": pl.DataFrame(core, schema=[*keys, "task", "centered"], orient="row"),
        "probe-documents": pl.DataFrame(losses, schema=[*keys, "domain", "loss"], orient="row"),
    }


def text(tmp_path) -> list[list[str]]:
    """Cells of the text table, row by row."""
    lines = (tmp_path / "table.md").read_text().splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_columns_without_any_entry_are_left_out(comparisons, info, tmp_path):
    draw_threshold({"comparisons": comparisons.with_columns(paper_difference=None, paper_power=None)}, info,
                   tmp_path / "table")  # fmt: skip
    header = text(tmp_path)[0]
    assert header[-1] == "n for 80 %"
    assert "paper_difference" in pl.read_csv(tmp_path / "table.csv").columns


def test_a_row_shows_estimates_beside_their_limits(comparisons, info, tmp_path):
    draw_threshold({"comparisons": comparisons}, info, tmp_path / "table")
    header, _, *rows = text(tmp_path)
    cells = dict(zip(header, next(row for row in rows if row[0] == "et - tc"), strict=True))
    assert (cells["metric"], cells["n"], cells["paper's difference"]) == ("val_loss", "3", "-0.049")
    assert cells["p sign-flip (smallest)"].endswith("(0.25)")
    assert cells["p permutation (smallest)"].endswith("(0.1)")
    assert cells["BCa interval"].endswith("] descriptive")
    assert pl.read_csv(tmp_path / "table.csv").columns == comparisons.columns


def test_equal_runs_have_no_interval_and_no_scaled_value(comparisons, info, tmp_path):
    draw_threshold({"comparisons": comparisons}, info, tmp_path / "table")
    header, _, *rows = text(tmp_path)
    cells = dict(zip(header, next(row for row in rows if row[0] == "twin - tc"), strict=True))
    assert cells["difference [95 % t interval]"] == "0, all equal"
    assert [cells[name] for name in ("BCa interval", "p paired t (Holm)", "g, paired [95 %]", "power at n")] == [
        "-"
    ] * 4


def test_a_scale_without_paper_b_says_so(comparisons, info, tmp_path):
    draw_ecology({"comparisons": comparisons}, info, tmp_path / "table")
    assert text(tmp_path)[0] == ["no condition ran beside its baseline at scale cpu"]


def test_pools_by_hand(pools, info):
    rows = {(row["condition"], row["pool"]): row for row in pool_rows(pools, info)}
    core, domains = rows["et", "CORE tasks"], rows["et", "validation domains"]
    assert (core["tasks"], core["n"], core["n_baseline"], core["probability"]) == (4, 3, 3, 1.0)
    # in %: of 0, 10, 20, 30, each + 0, .1, .2, the middle half are the 10s and 20s: 15.1; et lies a point higher
    assert (core["iqm"], core["iqm_baseline"]) == (pytest.approx(16.1), pytest.approx(15.1))
    # better in one of two domains, equal in the other
    assert domains["probability"] == 0.75
    assert "iqm" not in domains
    assert ("tc", "CORE tasks") not in rows  # dense has no probes


def test_a_task_that_one_run_lacks_is_left_out(pools, info):
    absent = (pl.col("condition") == "tc") & (pl.col("seed") == 2) & (pl.col("task") == "d")
    fewer = pools["probe-core"].filter(~absent)
    row = next(pool_rows(pools | {"probe-core": fewer}, info))
    assert (row["tasks"], row["iqm_baseline"]) == (3, pytest.approx(10.1, abs=0.1))


def test_pools_are_drawn_or_said_to_be_missing(pools, info, tmp_path):
    draw_pools(pools, info, tmp_path / "table")
    assert [row[:4] for row in text(tmp_path)[2:]] == [
        ["et - tc", "CORE tasks", "4", "3 : 3"],
        ["et - tc", "validation domains", "2", "3 : 3"],
    ]
    empty = {name: table.clear() for name, table in pools.items()}
    draw_pools(empty, info, tmp_path / "table")
    assert "no probes of a condition and its baseline" in text(tmp_path)[0][0]
