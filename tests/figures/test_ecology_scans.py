"""One-factor lines, the grid of E, the temperature scan and the crossed rules on frames small enough to check."""

from __future__ import annotations

import polars as pl
import pytest

from moe_replication.figures import cross, lines, style, temperature

OTHER = pl.DataFrame({"paper": ["expert-threshold"], "condition": ["et"]})


def _run(condition: str, rows: list[str], *, seed: int = 0, dead: float = 0.0, **changes) -> dict:
    weights = {"temperature": 2.0, "entropy_weight": 0.15, "oracle_weight": 0.15, "balance_weight": 0.40}
    run = {"paper": "expert-ecology", "condition": condition, "seed": seed, "rows": rows, "task": "vision"}
    run |= {"dataset": "digits-10", "rule": "softmax_top_k", "control_number": 6 / 11} | weights
    measures = {"dead_experts": dead, "dead_experts_assigned": dead, "usage_entropy": 0.9, "test_accuracy": 0.8}
    return run | measures | {"val_loss": None} | changes


MOVED = pl.DataFrame(
    [
        _run("v1", ["V1", "LINES", "GRID", "X2"], dead=1.0),
        _run("v1", ["V1", "LINES", "GRID", "X2"], seed=1, dead=3.0),
        _run("line-h-0", ["LINES"], dead=5.0, entropy_weight=0.0, control_number=0.0),
        _run("line-b-0.80", ["LINES"], dead=7.0, balance_weight=0.8, control_number=0.3 / 0.95),
        _run("grid-b-e0.40", ["GRID"], dead=0.0, balance_weight=0.6, control_number=0.4),
        _run("grid-b-e0.40", ["GRID"], seed=1, dead=2.0, balance_weight=0.6, control_number=0.4),
        _run("iso-e1.0-cold", ["ISO"], dead=9.0, temperature=1.0),
    ],
    infer_schema_length=None,
)
USAGE = {
    "usage": [0.25] * 4,
    "tier_shares": [0.5, 0.3, 0.2],
    "active_by_mass": 3.0,
    "mass_tier_shares": [0.6, 0.4, 0.0],
}
PROBE = pl.DataFrame(
    [
        {"paper": "expert-ecology", "condition": name, "seed": seed, "title": name, "rule": "softmax_top_k"}
        | {"temperature": heat, "accuracy": 0.8 + 0.1 * seed, "loss": 1.0, "active_experts": 4.0}
        | {"hard_sample_gradient": 2.0 * heat, "gate_entropy": 0.5}
        | USAGE
        for name in ("v1", "v7-e1.0")
        for seed in (0, 1)
        for heat in (0.1, 2.0, 5.0)
    ]
)


def test_each_line_holds_the_default_and_its_own_moves_only():
    data = lines.line_data(MOVED).filter(pl.col("source") == "run", measure="dead_experts")
    points = data.select("moved", "condition", "moved_to", "value").sort("moved", "moved_to", "value").rows()
    assert points == [
        ("balance_weight", "v1", 0.40, 1.0),
        ("balance_weight", "v1", 0.40, 3.0),
        ("balance_weight", "line-b-0.80", 0.80, 7.0),
        ("entropy_weight", "line-h-0", 0.0, 5.0),
        ("entropy_weight", "v1", 0.15, 1.0),
        ("entropy_weight", "v1", 0.15, 3.0),
    ]


def test_means_of_lines_have_intervals_from_two_seeds_on():
    means = lines.line_data(MOVED).filter(pl.col("source") == "mean", moved="balance_weight", measure="dead_experts")
    default, moved = means.sort("moved_to").iter_rows(named=True)
    assert (default["value"], default["n"]) == (2.0, 2)
    assert default["ci_high"] == pytest.approx(2.0 + 12.7062, rel=1e-4)
    assert (moved["value"], moved["n"], moved["ci_low"]) == (7.0, 1, None)


def test_colours_tell_the_sides_of_the_rule():
    above, below, neither = lines.SIDES.values()
    assert [lines.side_colour(control, 0.5) for control in (0.5, 0.499, None)] == [above, below, neither]


def test_the_e_of_each_point_has_three_digits():
    data = lines.line_data(MOVED).filter(pl.col("moved") == "balance_weight")
    with style.styled():
        _, axes = style.panels(width=3, height=3)
        lines.line_panel(axes[0, 0], data.filter(pl.col("measure") == "dead_experts"), data["moved_to"], 0.5)
        lines.control_axis(axes[0, 0], data)
        (top,) = axes[0, 0].child_axes
        assert [tick.get_text() for tick in top.get_xticklabels()] == [".545", ".316"]


def test_the_grid_counts_runs_with_any_dead_expert_exactly():
    shares = lines.grid_data(MOVED).filter(pl.col("source") == "share", moved="balance_weight").sort("control_number")
    assert shares.select("control_number", "value", "n").rows() == [(0.4, 0.5, 2), (0.545, 1.0, 2)]
    assert shares["ci_low"].to_list() == pytest.approx([0.012579, 0.158114], rel=1e-4)  # 1 and 2 of 2
    assert shares["ci_high"].to_list() == pytest.approx([0.987421, 1.0], rel=1e-4)


def test_the_papers_count_stands_at_the_default_point(paper_values):
    moved = lines.line_data(MOVED).filter(pl.col("moved") == "balance_weight")
    assert lines._paper(paper_values, moved, "moved_to") == [(0.0, 0.40)]


def test_the_scan_is_of_the_row_x2_with_a_line_a_tier_and_the_training_temperature():
    data = temperature.scan_data(PROBE, MOVED)
    assert data["condition"].unique().to_list() == ["v1"]
    assert data["trained_at"].unique().to_list() == [2.0]
    shares = data.filter(pl.col("source") == "mean", measure="tier_shares", temperature=0.1).sort("tier")
    assert shares.select("tier", "value", "n").rows() == [(0, 0.5, 2), (1, 0.3, 2), (2, 0.2, 2)]
    masses = data.filter(pl.col("source") == "mean", measure="mass_tier_shares", temperature=0.1).sort("tier")
    assert masses["value"].to_list() == [0.6, 0.4, 0.0]
    accuracy = data.filter(pl.col("source") == "mean", measure="accuracy", temperature=5.0).row(0, named=True)
    assert accuracy["value"] == pytest.approx(0.85)
    assert accuracy["ci_high"] - accuracy["value"] == pytest.approx(12.7062 * 0.05, rel=1e-4)


def test_counts_by_gate_mass_are_solid_and_by_top_1_dotted():
    data = temperature.scan_data(PROBE, MOVED).filter(pl.col("measure").str.starts_with("active"))
    with style.styled():
        _, axes = style.panels(width=3, height=3)
        temperature.panel(axes[0, 0], data)
    means = [line for line in axes[0, 0].lines if line.get_linewidth() == 1.4]
    assert {line.get_linestyle(): set(line.get_ydata()) for line in means} == {":": {4.0}, "-": {3.0}}


CROSSED = pl.DataFrame(
    [
        _run("cross-ec-none", ["CROSS"], rule="expert_choice", control_number=None, dead=0.0),
        _run("cross-et-e0.30", ["CROSS"], rule="expert_threshold", control_number=0.3, dead=2.0),
        _run("cross-topk-e0.545", ["CROSS"], dead=3.0),
        _run("v1", ["V1"], dead=9.0),
        _run("cross-tc-e1.0", ["CROSS"], dead=4.0, rule="token_choice", control_number=1.0)
        | {"paper": "expert-threshold", "task": "language", "val_loss": 3.4},
    ],
    infer_schema_length=None,
)


def test_the_crossed_runs_of_each_paper_stay_apart():
    ours = cross.cross_data(CROSSED).filter(pl.col("source") == "run", measure="dead_experts")
    assert ours.select("condition", "control_number", "value").rows() == [
        ("cross-ec-none", None, 0.0),
        ("cross-et-e0.30", 0.3, 2.0),
        ("cross-topk-e0.545", 0.545, 3.0),
    ]
    language = cross.language_data(CROSSED).filter(pl.col("source") == "run")
    assert dict(language.select("measure", "value").iter_rows()) == {
        "val_loss": 3.4,
        "dead_experts": 4.0,
        "dead_experts_assigned": 4.0,
    }


def test_rules_stand_side_by_side_at_one_value_of_e():
    data = cross.cross_data(CROSSED.with_columns(control_number=0.3)).filter(pl.col("measure") == "dead_experts")
    rules = ["softmax_top_k", "expert_threshold", "expert_choice"]
    with style.styled():
        _, axes = style.panels(width=3, height=3)
        cross.panel(axes[0, 0], data, [0.3], rules)
    dots = [line for line in axes[0, 0].lines if line.get_marker() in ("o", "D", "^")]
    assert sorted((round(float(line.get_xdata()[0]), 2), line.get_ydata()[0]) for line in dots) == [
        (-0.26, 3.0),
        (0.0, 2.0),
        (0.26, 0.0),
    ]


@pytest.mark.parametrize(
    ("draw", "runs"),
    [
        (lines.draw, MOVED),
        (lines.draw_grid, MOVED),
        (temperature.draw, MOVED),
        (cross.draw, CROSSED),
        (cross.draw_language, CROSSED),
    ],
)
def test_scans_draw_and_say_so_where_there_is_nothing(tmp_path, info, draw, runs):
    draw({"runs": runs, "probe-temperature": PROBE}, info, tmp_path / "some")
    assert pl.read_csv(tmp_path / "some.csv").height >= 6
    draw({"runs": OTHER, "probe-temperature": OTHER}, info, tmp_path / "none")
    assert (tmp_path / "none.csv").read_text().count("\n") == 1
