"""Sizes, labels, intervals and byte-identical files."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from moe_replication.config.schema import read_yaml
from moe_replication.figures import number_formats, style, typeset
from moe_replication.figures.tables import complete_band, mean_band, of_paper

ROOT = Path(__file__).parents[2]


def test_mean_band_is_the_t_interval_worked_by_hand():
    frame = pl.DataFrame({"condition": ["a", "a", "a", "b"], "loss": [1.0, 2.0, 3.0, 5.0]})
    three, one = mean_band(frame, ["condition"], "loss").iter_rows(named=True)
    half = 4.302653 / math.sqrt(3)  # t(0.975, 2) * sd 1 / sqrt(3)
    assert (three["n"], three["mean"]) == (3, 2.0)
    assert three["ci_low"] == pytest.approx(2 - half, abs=1e-6)
    assert three["ci_high"] == pytest.approx(2 + half, abs=1e-6)
    assert one == {"condition": "b", "n": 1, "mean": 5.0, "ci_low": None, "ci_high": None}


def test_mean_band_leaves_missing_values_out():
    frame = pl.DataFrame({"condition": ["a", "a", "a"], "loss": [1.0, None, 3.0]})
    assert mean_band(frame, ["condition"], "loss")["n"].to_list() == [2]


def test_complete_band_drops_steps_that_a_seed_has_not_reached():
    frame = pl.DataFrame({"c": ["a"] * 3, "step": [2, 1, 1], "loss": [9.0, 1.0, 3.0]})
    band = complete_band(frame, ["c"], "step", "loss")
    assert band.select("step", "n", "mean").rows() == [(1, 2, 2.0)]


def test_of_paper_adds_columns_that_no_run_recorded():
    frame = pl.DataFrame({"paper": ["x", "y"], "loss": [1.0, 2.0]})
    assert of_paper(frame, "y", ["loss", "cutoff"]).rows() == [(2.0, None)]


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (256, "256"), (8192, "8.192k"), (1_500_000, "1.5M"), (10**10, "10B")]
)
def test_short_numbers(value, text):
    assert number_formats.short_numbers(value) == text


@pytest.mark.parametrize(("value", "text"), [(256, "256"), (2048, "2k"), (524288, "512k"), (2**20, "1M")])
def test_short_powers_count_as_the_paper_does(value, text):
    assert number_formats.short_powers(value) == text


def test_seed_counts_are_spelt_out():
    assert style.condition_label("ET", [3, 3]) == "ET (n = 3)"
    assert style.condition_label("ET", [1, 3, 2]) == "ET (n = 1 to 3)"


def test_condition_looks_are_fixed_and_families_share_colour_and_marker():
    et, variant = style.condition_look("et", None), style.condition_look("et-no-warmup", "expert_threshold")
    assert et.colour == variant.colour
    assert (et.marker, et.line) != (variant.marker, variant.line)
    unlisted = style.condition_look("et-mine", "expert_threshold")
    assert (unlisted.colour, unlisted.marker) == (et.colour, et.marker)
    looks = [(look.colour, look.marker, look.line) for look in style.CONDITION_LOOKS.values()]
    assert len(set(looks)) == len(looks)
    assert style.condition_look("mine", "my_rule").colour not in {look.colour for look in style.RULE_LOOKS.values()}


def test_every_condition_of_paper_a_has_a_look_of_its_rules_colour():
    conditions = read_yaml(ROOT / "config" / "papers" / "expert-threshold.yaml")["conditions"]
    assert set(conditions) == set(style.CONDITION_LOOKS)
    colours: dict[str, set[str]] = {}
    for name, row in conditions.items():
        colours.setdefault(row["set"]["routing"]["rule"], set()).add(style.CONDITION_LOOKS[name].colour)
    assert all(not a & b for a, b in itertools.combinations(colours.values(), 2))


def test_seed_points_show_every_seed_and_no_interval_at_one():
    with style.styled():
        _, axes = style.panels(width=2, height=2)
        style.seed_points(axes[0, 0], 1.0, [3.0], style.CONDITION_LOOKS["et"])
        assert not axes[0, 0].collections
        style.seed_points(axes[0, 0], 2.0, [3.0, 4.0, 5.0], style.CONDITION_LOOKS["et"], jitter=0.1)
    assert len(axes[0, 0].collections) == 1
    dots = axes[0, 0].lines[-1]
    assert sorted(dots.get_ydata()) == [3.0, 4.0, 5.0]
    assert len(set(dots.get_xdata())) == 3


@pytest.mark.parametrize(("width", "count"), [(style.COLUMN, 3), (style.DOUBLE, 3), (style.DOUBLE, 12)])
def test_a_legend_on_top_stays_within_the_figure(width, count):
    with style.styled():
        figure, _ = style.panels(width=width, height=3.0)
        style.legend_on_top(figure, [style.legend_dot(f"a rather long label {number}") for number in range(count)])
        figure.canvas.draw()
        box = figure.legends[0].get_window_extent()
        assert len(figure.legends) == 1
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1


def test_the_papers_values_are_open_markers_and_ours_are_filled():
    with style.styled():
        _, axes = style.panels(width=2, height=2)
        style.seed_points(axes[0, 0], 0.0, [1.0, 2.0], style.CONDITION_LOOKS["et"])
        style.paper_point(axes[0, 0], 0.0, 3.0, "D")
        style.paper_line(axes[0, 0], 4.0, "paper")
    low, high = axes[0, 0].get_ylim()
    assert low < 1 < 4 < high  # a line across counts for the limits
    *_, seeds, point, line = axes[0, 0].lines
    assert seeds.get_markerfacecolor() == style.CONDITION_LOOKS["et"].colour
    assert [open_marker.get_markerfacecolor() for open_marker in (point, line)] == ["none", "none"]
    assert line.get_markevery() == [1]


def test_tables_set_words_left_and_numbers_right(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(style, "save", lambda figure, data, out_base: drawn.append(figure))
    cells = [["a", "3.1 ± 0.2", "[0.1, 2]", "softmax"], ["b", "not run", "> 10,000", "-"]]
    with style.styled():
        typeset.save_table(["condition", "loss", "ends", "rule"], cells, pl.DataFrame(), tmp_path / "table")
    sides = {text.get_text(): text.get_ha() for text in drawn[0].axes[0].texts}
    assert [sides[head] for head in ("condition", "loss", "ends", "rule")] == ["left", "right", "right", "left"]
    assert (sides["not run"], sides["softmax"]) == ("right", "left")


def test_saving_leaves_no_date_and_only_the_three_files(tmp_path):
    _save_sample(tmp_path / "sample")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sample.csv", "sample.pdf", "sample.png"]
    assert b"CreationDate" not in (tmp_path / "sample.pdf").read_bytes()
    assert (tmp_path / "sample.csv").read_text() == "x\n1\n"


def test_regeneration_is_byte_identical_in_another_process(tmp_path):
    _save_sample(tmp_path / "here")
    code = f"import runpy; runpy.run_path({__file__!r})['_save_sample']({str(tmp_path / 'there')!r})"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONHASHSEED": "7", "TZ": "UTC-9"})
    for kind in ("png", "pdf", "csv"):
        assert (tmp_path / f"here.{kind}").read_bytes() == (tmp_path / f"there.{kind}").read_bytes()


def test_an_empty_figure_says_so_and_keeps_its_header(tmp_path):
    with style.styled():
        style.save_empty("no runs of paper A at scale demo", ["condition", "n"], tmp_path / "empty")
    assert (tmp_path / "empty.csv").read_text() == "condition,n\n"
    assert (tmp_path / "empty.png").stat().st_size > 1000


def _save_sample(out_base) -> None:
    with style.styled():
        figure, axes = style.panels(width=2, height=1.5)
        style.seed_points(axes[0, 0], 0.0, [1.0, 2.0], style.CONDITION_LOOKS["tc"])
        axes[0, 0].set_ylabel("loss (nats / token)")
        style.save(figure, pl.DataFrame({"x": [1]}), out_base)
