"""Dead experts under each definition: which runs, which counts, and numbers in headings that are the census's."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from moe_replication.config import load_project
from moe_replication.figures import definitions, style

COUNTS = dict(zip(definitions.DEFINITIONS, (4.0, 2.0, 3.0, 1.0, 0.0), strict=True))


def _run(condition: str, rows: list[str], task: str = "vision", *, seed: int = 0, **changes) -> dict:
    run = {"paper": "expert-ecology", "condition": condition, "seed": seed, "rows": rows, "task": task, "experts": 16}
    return run | {"dataset": "digits-10" if task == "vision" else "embedded"} | COUNTS | changes


RUNS = pl.DataFrame(
    [
        _run("v1", ["V1", "ISO"]),
        _run("v1", ["V1", "ISO"], seed=1, dead_experts=6.0),
        _run("iso-e0.30-cold", ["ISO"]),
        _run("l1", ["L1", "L2"], "language"),
        _run("l2-ortho-0.20", ["L2"], "language"),
        _run("l3-e1.0", ["L3"], "language", silent_experts=None),
    ]
)


def test_the_papers_vision_conditions_and_two_language_rows_are_counted():
    data = definitions.definition_data(RUNS)
    assert data["condition"].unique().sort().to_list() == ["l1", "l3-e1.0", "v1"]
    runs = data.filter(pl.col("source") == "run", seed=0)
    counts = {name: dict(part.select("measure", "value").iter_rows()) for (name,), part in runs.group_by("condition")}
    assert counts["v1"] == counts["l1"] == COUNTS
    assert set(COUNTS) - set(counts["l3-e1.0"]) == {"silent_experts"}
    mean = data.filter(pl.col("source") == "mean", condition="v1", measure="dead_experts").row(0, named=True)
    assert (mean["value"], mean["n"]) == (5.0, 2)


def test_a_panel_shows_every_run_beside_its_condition():
    data = definitions.definition_data(RUNS).filter(pl.col("dataset") == "CIFAR-10", measure="dead_experts")
    with style.styled():
        _, axes = style.panels(width=3, height=2)
        definitions.panel(axes[0, 0], data, ["v1"])
    dots = [line for line in axes[0, 0].lines if line.get_marker() == "o"]
    assert [sorted(line.get_xdata()) for line in dots] == [[4.0, 6.0]]


def test_the_numbers_in_the_headings_are_those_of_the_census(info):
    project = load_project(Path(__file__).parents[2], {"scale": "smoke"})
    census = project.papers["expert-ecology"].conditions["v1"].config.census
    named = definitions.DEFINITIONS
    assert info.analysis.dead_share == census.dead_share
    assert f"< {100 * census.strict_dead_share:g} %" in named["dead_experts_tenth_percent"]
    assert f"< {100 * census.fair_share_fraction:g} %" in named["dead_experts_fair_share"]
    assert f"{census.silent_batches} training batches" in named["silent_experts"]


def test_the_figure_draws_and_says_so_where_there_is_nothing(tmp_path, info):
    definitions.draw({"runs": RUNS}, info, tmp_path / "some")
    assert pl.read_csv(tmp_path / "some.csv").filter(pl.col("source") == "run").height == 2 * 5 + 5 + 4
    definitions.draw(
        {"runs": pl.DataFrame({"paper": ["expert-threshold"], "condition": ["et"]})}, info, tmp_path / "no"
    )
    assert (tmp_path / "no.csv").read_text().count("\n") == 1
