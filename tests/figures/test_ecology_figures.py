"""Dead experts, usage and tier shares of paper B on frames small enough to check by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from moe_replication.config.analysis import analysis_settings
from moe_replication.figures import deaths, ecology, style
from moe_replication.figures.ecology_runs import set_look
from moe_replication.figures.paper_values import SCHEMA
from moe_replication.figures.slots import log_slots
from moe_replication.figures.style import FigureInfo

ANALYSIS = analysis_settings(Path(__file__).parents[2])

REPORTED = pl.DataFrame(
    [
        {
            "paper": "expert-ecology",
            "metric": "dead_experts",
            "dataset": "TinyImageNet",
            "control_number": 0.545,
        }
        | {"value": 7.0, "label": "7/16", "place": "B, V6"},
        {"paper": "expert-ecology", "metric": "dead_experts", "dataset": "CIFAR-10", "control_number": 0.545}
        | {"value": 0.0, "label": "0", "place": "B, V1"},
    ],
    schema=SCHEMA,
)
INFO = FigureInfo(analysis=ANALYSIS, scale="demo", paper_values=REPORTED)
RUNS = pl.DataFrame(
    {
        "paper": "expert-ecology",
        "condition": ["v6", "v6", "x1-flat", "v7-e1.0", "v0", "low", "l1"],
        "seed": [0, 1, 0, 0, 0, 0, 0],
        "title": None,
        "task": ["vision"] * 6 + ["language"],
        "dataset": ["digits-200"] * 6 + ["embedded"],
        "experts": 16,
        "control_number": [6 / 11, 6 / 11, 6 / 11, 1.0, None, 0.3, 6 / 11],
        "dead_experts": [4.0, 6.0, 3.0, 2.0, 9.0, 8.0, 0.0],
        "usage_entropy": 0.5,
        "rows": [["V6", "X2"], ["V6", "X2"], ["X1"], ["V7"], ["ISO"], ["HELDOUT"], ["L1"]],
    }
)
LIMIT = ANALYSIS.rule_threshold
OWN = pl.DataFrame({"paper": "expert-ecology", "condition": ["v1", "iso-e1.0-hot", "x1-flat"],
                    "rows": [["V1", "ISO"], ["ISO"], ["X1"]]})  # fmt: skip


def _experts(usage: list[float], *, condition="v1", seed=0, epoch=1.0, layer=0, tiers=(0, 0, 1)) -> pl.DataFrame:
    return pl.DataFrame({"expert": range(len(usage)), "usage": usage, "tier": tiers}).with_columns(
        paper=pl.lit("expert-ecology"),
        condition=pl.lit(condition),
        seed=pl.lit(seed),
        epoch=pl.lit(epoch),
        layer=pl.lit(layer),
    )


def test_stand_ins_join_the_papers_set_and_only_its_cells():
    data = deaths.dead_data(RUNS, REPORTED, LIMIT)
    assert data["dataset"].unique().sort().to_list() == ["TinyImageNet", "language"]
    reported = data.filter(pl.col("source") == "paper")
    assert reported.select("dataset", "measure", "value", "label").rows() == [
        ("TinyImageNet", "dead_experts", 7.0, "7/16")
    ]


def test_labels_are_the_papers_rows_only():
    data = deaths.dead_data(RUNS, REPORTED, LIMIT).filter(pl.col("source") == "run", measure="dead_experts")
    labels = dict(data.select("condition", "label").iter_rows())
    assert labels == {"v6": "V6", "x1-flat": "X1", "v7-e1.0": "V7", "v0": None, "low": None, "l1": "L1"}


def test_runs_under_other_rules_are_left_out():
    crossed = RUNS.with_columns(rows=pl.lit(["CROSS"]))
    assert deaths.dead_data(crossed, REPORTED, LIMIT).is_empty()


def test_bins_average_conditions_and_never_cross_the_threshold():
    runs = pl.DataFrame(
        {
            "condition": ["a", "a", "b", "c", "c", "d", "e"],
            "control_number": [0.5, 0.5, 0.6, 0.48, 0.48, 0.0, None],
            "value": [1.0, 3.0, 6.0, 2.0, 4.0, 9.0, 9.0],
        }
    ).with_columns(dataset=pl.lit("CIFAR-10"), measure=pl.lit("dead_experts"))
    above, below = deaths.bins(runs, 0.5).iter_rows(named=True)  # single runs have no bin
    assert (above["value"], above["n"]) == (4.0, 2)  # mean of a's 2 and b's 6
    assert above["control_number"] == pytest.approx((0.5 * 0.5 * 0.6) ** (1 / 3))
    assert above["ci_high"] - 4.0 == pytest.approx(12.7062 * 2.0, rel=1e-4)
    assert (below["value"], below["n"]) == (3.0, 2)  # the seeds of c
    assert below["control_number"] == pytest.approx(0.48)


def test_every_run_is_visible_on_its_side_of_the_threshold():
    data = deaths.dead_data(RUNS, REPORTED, LIMIT).filter(pl.col("measure") == "dead_experts")
    tiny = data.filter(pl.col("dataset") == "TinyImageNet")
    with style.styled():
        _, axes = style.panels(width=4, height=3)
        deaths.panel(axes[0, 0], tiny, log_slots(tiny["control_number"], guides=[LIMIT]), LIMIT)
    marker = set_look("TinyImageNet").marker
    dots = [line for line in axes[0, 0].lines if line.get_marker() == marker]
    own = [line for line in dots if line.get_markerfacecolor() != "none"]
    points = [point for line in own for point in zip(line.get_xdata(), line.get_ydata(), strict=True)]
    assert sorted(y for _, y in points) == [2.0, 3.0, 4.0, 6.0, 8.0, 9.0]
    assert {y for x, y in points if x < LIMIT} == {8.0, 9.0}  # E = 0.3 and E undefined
    labels = [text.get_text() for text in axes[0, 0].get_xticklabels()]
    assert labels[0].strip() == "undefined"
    assert "0.545" in labels
    paper = next(line for line in dots if line.get_markerfacecolor() == "none")
    assert list(np.atleast_1d(paper.get_ydata())) == [7.0]


def test_equal_runs_lie_side_by_side_without_crossing_the_threshold():
    runs = pl.DataFrame({"control_number": [0.505] * 5 + [0.3], "value": [0.0] * 6})
    axis = log_slots([0.1, 10.0])
    found = deaths.places(runs, axis, 0.5)
    assert len(set(found)) == 6
    assert min(found[:5]) > 0.5
    assert found[5] == pytest.approx(0.3)


def test_dead_experts_csv_holds_runs_bins_and_reported_cells(tmp_path):
    deaths.draw({"runs": RUNS}, INFO, tmp_path / "dead")
    table = pl.read_csv(tmp_path / "dead.csv")
    assert table["source"].value_counts().sort("source").rows() == [("bin", 2), ("paper", 1), ("run", 14)]
    assert table.filter(pl.col("source") == "paper")["place"].to_list() == ["B, V6"]


def test_usage_is_of_the_first_seed_and_averaged_over_layers():
    experts = pl.concat(
        [
            _experts([0.2, 0.3, 0.5], layer=0),
            _experts([0.4, 0.1, 0.5], layer=1),
            _experts([0.0, 0.0, 1.0], seed=1),
        ]
    )
    data = ecology.usage_data(experts)
    assert data["usage"].to_list() == pytest.approx([0.3, 0.2, 0.5])
    assert data["seed"].unique().to_list() == [0]


def test_unlisted_conditions_are_shown_when_no_listed_one_was_run():
    data = ecology.usage_data(_experts([0.2, 0.3, 0.5], condition="mine"))
    assert data["condition"].unique().to_list() == ["mine"]


def test_colours_break_at_the_dead_line():
    colours = ecology.usage_colours(0.01)
    norm = ecology.LogNorm(vmin=0.001, vmax=1.0)
    below, above = (np.array(colours(norm(share))[:3]) for share in (0.0098, 0.0102))
    assert np.abs(below - above).max() > 0.2
    orange, blue = colours(norm(0.002)), colours(norm(0.2))
    assert orange[0] > orange[2]
    assert blue[2] > blue[0]


def test_tier_shares_sum_over_experts_and_average_over_layers_and_seeds():
    experts = pl.concat(
        [
            _experts([0.2, 0.3, 0.5], layer=0),
            _experts([0.1, 0.2, 0.7], layer=1),
            _experts([0.4, 0.4, 0.2], seed=1, layer=0),
            _experts([0.4, 0.4, 0.2], seed=1, layer=1),
        ]
    )
    data = ecology.share_data(experts, OWN)
    first, second = data.filter(pl.col("seed").is_null()).sort("tier").iter_rows(named=True)
    assert (first["n"], first["experts"], second["experts"]) == (2, 2, 1)
    assert first["mean"] == pytest.approx((0.4 + 0.8) / 2)
    assert first["mean"] + second["mean"] == pytest.approx(1.0)
    assert first["ci_high"] - first["mean"] == pytest.approx(12.7062 * 0.2, rel=1e-4)
    assert data.filter((pl.col("seed") == 1) & (pl.col("tier") == 0))["mean"].to_list() == pytest.approx([0.8])


def test_flat_experts_have_no_tier_shares(tmp_path):
    flat = _experts([0.2, 0.3, 0.5], condition="x1-flat", tiers=(0, 0, 0))
    ecology.draw_shares({"experts": flat, "runs": OWN}, INFO, tmp_path / "shares")
    assert pl.read_csv(tmp_path / "shares.csv").is_empty()


def test_tier_shares_are_of_the_papers_own_conditions():
    experts = pl.concat([_experts([0.2, 0.3, 0.5], condition=name) for name in ("v1", "iso-e1.0-hot")])
    assert ecology.share_data(experts, OWN)["condition"].unique().to_list() == ["v1"]


def test_one_seed_one_epoch_and_untiered_rows_draw(tmp_path):
    one = _experts([0.2, 0.3, 0.5])
    ecology.draw_usage({"experts": one.with_columns(tier=pl.lit(None, pl.Int64))}, INFO, tmp_path / "usage")
    ecology.draw_shares({"experts": one, "runs": OWN}, INFO, tmp_path / "shares")
    assert pl.read_csv(tmp_path / "usage.csv").height == 3
    shares = pl.read_csv(tmp_path / "shares.csv")
    assert shares.filter(pl.col("seed").is_null())["n"].to_list() == [1, 1]


@pytest.mark.parametrize("draw", [deaths.draw, ecology.draw_usage, ecology.draw_shares])
def test_a_scale_without_paper_b_gets_a_text_panel(tmp_path, draw):
    other = pl.DataFrame({"paper": ["expert-threshold"], "condition": ["et"]})
    draw({"runs": other, "experts": other}, INFO, tmp_path / "figure")
    assert (tmp_path / "figure.csv").read_text().count("\n") == 1
