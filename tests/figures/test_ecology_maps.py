"""The axis with slots, the phase map and the taxonomy of paper B on frames small enough to check by hand."""

from __future__ import annotations

import polars as pl
import pytest

from moe_replication.figures import phase_map, style, taxonomy
from moe_replication.figures.slots import log_slots, round_marks

OTHER = pl.DataFrame({"paper": ["expert-threshold"], "condition": ["et"]})


def _run(condition: str, rows: list[str], *, seed: int = 0, dead: float = 0.0, **changes) -> dict:
    weights = {"temperature": 2.0, "entropy_weight": 0.15, "oracle_weight": 0.15, "balance_weight": 0.40}
    run = {"paper": "expert-ecology", "condition": condition, "seed": seed, "rows": rows, "task": "vision"}
    run |= {"dataset": "digits-10", "experts": 16, "control_number": 6 / 11, "dead_experts": dead} | weights
    classes = dict.fromkeys(taxonomy.COLUMNS, 0.0) | {"taxonomy_dead": dead, "taxonomy_pure_core": 16.0 - dead}
    return run | classes | changes


def test_slots_lie_left_of_the_values_undefined_first():
    axis = log_slots([0.5, None, 0.0, 2.0])
    assert axis.marks == (0.5, 2.0)
    places = [axis.place(value) for value in (None, 0.0, 0.5, 2.0)]
    assert places == sorted(places)
    assert axis.limits[0] < places[0]
    assert log_slots([0.5]).slots == ()


def test_an_axis_without_positive_values_still_has_a_place_for_zero():
    axis = log_slots([0.0])
    assert axis.limits[0] < axis.place(0.0) < axis.limits[1]
    assert axis.marks == ()


def test_a_step_aside_is_a_share_of_the_axis():
    axis = log_slots([0.1, 10.0])
    low, high = axis.limits
    assert axis.aside(low, 1.0) == pytest.approx(high)


def test_many_values_share_round_marks():
    assert round_marks(0.136, 2.18) == pytest.approx([0.2, 0.5, 1, 2])
    assert round_marks(0.3, 1.0) == pytest.approx([0.3, 0.5, 0.7, 1])  # 1, 2 and 5 would leave two
    assert log_slots([0.1 * n for n in range(1, 21)]).marks == pytest.approx((0.1, 0.2, 0.5, 1, 2))


def test_a_slot_keeps_its_tick_label_on_either_side():
    with style.styled():
        _, axes = style.panels(width=3, height=3)
        log_slots([0.0, 1.0]).dress(axes[0, 0], "y")
    assert [text.get_text() for text in axes[0, 0].get_yticklabels()] == ["0", "1"]


def test_phase_map_pools_conditions_of_equal_weights_and_counts_runs_with_any_dead():
    runs = pl.DataFrame(
        [
            _run("v1", ["V1"], dead=0.0),
            _run("v1", ["V1"], seed=1, dead=4.0),
            _run("v2-ortho-0.20", ["V2"], dead=2.0),
            _run("line-h-0", ["LINES"], dead=8.0, entropy_weight=0.0, control_number=0.0),
            _run("cross-ec-e0.545", ["CROSS"], dead=16.0),
        ]
    )
    zero, pooled = phase_map.phase_data(runs).iter_rows(named=True)
    assert (zero["numerator"], zero["dead_share"]) == (0.0, 0.5)
    assert (pooled["conditions"], pooled["n"], pooled["runs_with_dead"]) == (2, 3, 2)
    assert (pooled["numerator"], pooled["denominator"]) == (0.3, 0.55)
    assert pooled["dead_share"] == pytest.approx(6 / 48)


def test_equal_points_of_the_phase_map_do_not_hide_each_other():
    hot = {"temperature": 4.0, "entropy_weight": 0.075}
    runs = pl.DataFrame([_run("v1", ["V1"]), _run("iso-e0.545-hot", ["ISO"], **hot)])
    data = phase_map.phase_data(runs)
    xs, ys = phase_map.places(data, log_slots([0.1, 1.0]), log_slots([0.1, 1.0]))
    assert abs(xs[0] - xs[1]) > 0.01
    assert xs.prod() == pytest.approx(0.3**2)  # the ring is around the point
    assert ys == pytest.approx([0.55, 0.55])


def test_taxonomy_averages_seeds_and_leaves_out_our_conditions():
    runs = pl.DataFrame(
        [
            _run("v1", ["V1", "ISO"], dead=1.0),
            _run("v1", ["V1", "ISO"], seed=1, dead=4.0),
            _run("iso-e1.0-hot", ["ISO"], dead=9.0),
            _run("l1", ["L1"], task="language", dataset="embedded"),
        ]
    )
    data = taxonomy.taxonomy_data(runs, pl.DataFrame(schema={"paper": pl.String, "metric": pl.String} | CELLS))
    assert data["condition"].unique().to_list() == ["v1"]
    means = data.filter(pl.col("source") == "mean")
    assert means["value"].sum() == 16.0
    assert means.filter(pl.col("class") == "dead").select("value", "n").row(0) == (2.5, 2)
    assert data.filter(pl.col("source") == "run")["value"].to_list() == [1.0, 4.0]


CELLS = {
    "dataset": pl.String,
    "control_number": pl.Float64,
    "value": pl.Float64,
    "label": pl.String,
    "place": pl.String,
}


def test_the_papers_counts_stand_at_the_conditions_they_are_of(paper_values):
    tiny = {"dataset": "tiny-imagenet"}
    runs = pl.DataFrame(
        [
            _run("v6", ["V6", "X2"], **tiny),
            _run("v6-no-divergence", ["V6"], **tiny),
            _run("v7-e1.0", ["V7"], control_number=1.0, **tiny),
            _run("v8-32-experts", ["V8"], **tiny | {"experts": 32}),
            _run("v1", ["V1", "V2"]),
            _run("v2-ortho-0.20", ["V2"]),
        ]
    )
    data = taxonomy.taxonomy_data(runs, paper_values).filter(pl.col("source") == "paper")
    assert dict(data.select("condition", "value").iter_rows()) == {
        "v6": 7.0,
        "v7-e1.0": 7.0,
        "v8-32-experts": 25.0,
        "v1": 0.0,
        "v2-ortho-0.20": 0.0,
    }
    assert data.height == 5


@pytest.mark.parametrize("draw", [phase_map.draw, taxonomy.draw])
def test_maps_draw_and_say_so_where_there_is_nothing(tmp_path, info, draw):
    draw({"runs": pl.DataFrame([_run("v1", ["V1"], dead=1.0)])}, info, tmp_path / "one")
    assert pl.read_csv(tmp_path / "one.csv").height >= 1
    draw({"runs": OTHER}, info, tmp_path / "none")
    assert (tmp_path / "none.csv").read_text().count("\n") == 1
