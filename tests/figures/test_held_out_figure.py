"""The held-out comparison as drawn: every panel, point and cell comes from the scores."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from figures.ecology_worlds import matrix
from moe_replication.figures import held_out, style
from moe_replication.statistics.held_out import FITS, INTERVALS, ONE_OUTCOME, PREDICTORS


@pytest.fixture
def quick(info):
    """The shipped definitions with fewer bootstrap samples."""
    return replace(info, analysis=replace(info.analysis, resamples=100))


def _mixed(row, draw) -> float:
    return float((row["control_number"] < 0.5) != (draw.random() < 0.2))


@pytest.fixture(scope="module")
def runs() -> pl.DataFrame:
    """Dead experts mostly below E = 0.5."""
    return matrix(_mixed)


def test_csv_holds_a_score_for_every_predictor_and_set_and_the_rules_single_point(tmp_path, runs, quick):
    held_out.draw({"runs": runs}, quick, tmp_path / "figure")
    data = pl.read_csv(tmp_path / "figure.csv")
    names = ["digits-10 (for CIFAR-10), other half", "digits-100 (for CIFAR-100)", "digits-200 (for TinyImageNet)"]
    scores = data.filter(pl.col("kind") == "score")
    assert scores["name"].unique(maintain_order=True).to_list() == [*names, "language (embedded)"]
    assert scores["predictor"].to_list() == list(PREDICTORS) * 4
    fit, own = data.filter(pl.col("kind") == "fit"), scores.filter(pl.col("name") == names[0])
    assert fit["conditions"][0] + own["conditions"][0] == 17
    assert fit["runs"][0] + own["runs"][0] == 51
    rule = data.filter((pl.col("kind") == "roc") & (pl.col("predictor") == "rule"))
    assert rule["test_set"].to_list() == ["CIFAR-10", "CIFAR-100", "TinyImageNet", "language"]
    # The area under a single point is (1 + TPR - FPR) / 2.
    area = (1 + rule["true_positive_rate"] - rule["false_positive_rate"]) / 2
    assert area.to_list() == pytest.approx(scores.filter(pl.col("predictor") == "rule")["auc"].to_list())


def test_the_rules_point_is_what_it_calls_right_and_wrong(runs, quick):
    result, _ = held_out.scored(runs, quick.analysis)
    tested = result.predictions.filter(
        (pl.col("predictor") == "rule") & (pl.col("half") == "test") & (pl.col("dataset") == "CIFAR-10")
    )
    alive = tested.filter(~pl.col("any_dead"))
    wrong = alive.filter(pl.col("control_number") < 0.49).height / alive.height
    data = held_out.figure_data(result).filter((pl.col("kind") == "roc") & (pl.col("test_set") == "CIFAR-10"))
    assert data.filter(pl.col("predictor") == "rule")["false_positive_rate"].to_list() == [wrong]


def test_panels_show_every_predictor(runs, quick):
    result, _ = held_out.scored(runs, quick.analysis)
    data = held_out.figure_data(result).filter(pl.col("test_set") == "CIFAR-10")
    with style.styled():
        _, axes = style.panels(width=3, height=5, rows=2)
        held_out.roc_panel(axes[0, 0], data, beside=False)
        held_out.brier_panel(axes[1, 0], data.filter(pl.col("kind") == "score"))
    labels = [text.get_text().rpartition(", ")[0] for text in axes[0, 0].get_legend().get_texts()]
    assert sorted(labels) == sorted(PREDICTORS)
    briers = [line.get_xdata()[0] for line in axes[1, 0].lines if line.get_marker() != "None"]
    expected = dict(result.scores.filter(pl.col("test_set") == "CIFAR-10").select("predictor", "brier").iter_rows())
    assert briers == [expected[name] for name in held_out.LOOKS]
    assert [text.get_text() for text in axes[1, 0].get_yticklabels()] == list(PREDICTORS)


def test_a_set_with_one_outcome_says_so_in_place_of_curves(tmp_path, quick):
    runs = matrix(lambda row, draw: _mixed(row, draw) if row["dataset"] == "digits-10" else 0.0, others=("embedded",))
    held_out.draw({"runs": runs}, quick, tmp_path / "figure")
    data = pl.read_csv(tmp_path / "figure.csv").filter(pl.col("test_set") == "language")
    assert data["kind"].unique().to_list() == ["score"]
    with style.styled():
        _, axes = style.panels(width=2, height=2)
        held_out.roc_panel(axes[0, 0], data, beside=False)
    assert axes[0, 0].texts[0].get_text() == "no runs have\ndead experts:\nno ROC"
    assert axes[0, 0].get_legend() is None


def test_runs_of_other_routing_rules_are_not_scored(runs, quick):
    cross = runs.filter(pl.col("condition") == "iso-e0.30-0").with_columns(
        dataset=pl.lit("digits-100"), rows=pl.lit(["CROSS"])
    )
    result, _ = held_out.scored(pl.concat([runs, cross]), quick.analysis)
    assert result.scores.equals(held_out.scored(runs, quick.analysis)[0].scores)


def test_table_has_a_line_a_predictor_and_its_text_is_the_csv(tmp_path, runs, quick):
    held_out.draw_table({"runs": runs}, quick, tmp_path / "table")
    numbers = pl.read_csv(tmp_path / "table.csv")
    text = (tmp_path / "table.md").read_text().splitlines()
    assert len(text) == 2 + len(PREDICTORS) * 4
    assert "note" not in text[0]
    first = numbers.row(0, named=True)
    cells = [cell.strip() for cell in text[2].strip("|").split("|")]
    assert cells[:3] == ["digits-10 (for CIFAR-10), other half", "rule", str(first["runs"])]
    assert cells[7] == f"{first['brier']:.3f} [{first['brier_low']:.3f}, {first['brier_high']:.3f}]"
    assert cells[8] == "-"  # the rule minus itself


def test_table_notes_that_nothing_could_be_fitted_and_what_has_no_e(tmp_path, quick):
    runs = matrix(lambda row, draw: float(row["dataset"] == "digits-100" and draw.random() < 0.5))
    name = pl.col("condition") == "digits-100-e1.0"
    runs = runs.with_columns(pl.when(name).then(None).otherwise(pl.col("control_number")).alias("control_number"))
    held_out.draw_table({"runs": runs}, quick, tmp_path / "table")
    numbers = pl.read_csv(tmp_path / "table.csv")
    noted = numbers.filter(pl.col("note") == ONE_OUTCOME)
    assert noted["predictor"].unique().sort().to_list() == sorted(FITS)
    assert numbers.filter(pl.col("test_set") == "CIFAR-100")["undefined"].unique().to_list() == [3]
    text = (tmp_path / "table.md").read_text()
    assert text.count(ONE_OUTCOME) == len(FITS) * 4


def test_every_score_with_an_interval_is_in_the_table():
    assert set(INTERVALS) <= set(held_out.HEADER)


@pytest.mark.parametrize("draw", [held_out.draw, held_out.draw_table])
def test_a_scale_without_runs_to_fit_on_gets_a_sentence(tmp_path, runs, quick, draw):
    other = runs.filter(pl.col("dataset") != "digits-10")
    draw({"runs": other}, quick, tmp_path / "figure")
    assert (tmp_path / "figure.csv").read_text().count("\n") == 1
    draw({"runs": pl.DataFrame({"paper": ["expert-threshold"], "condition": ["et"]})}, quick, tmp_path / "figure")
    assert (tmp_path / "figure.csv").read_text().count("\n") == 1


@pytest.mark.parametrize("dead", [0.0, 3.0])
def test_the_same_outcome_everywhere_still_gives_scores(tmp_path, quick, dead):
    held_out.draw({"runs": matrix(lambda row, draw: dead)}, quick, tmp_path / "figure")
    data = pl.read_csv(tmp_path / "figure.csv")
    assert set(data["kind"]) == {"fit", "score"}
    assert data.filter(pl.col("kind") == "score")["dead_share"].unique().to_list() == [float(dead > 0)]
