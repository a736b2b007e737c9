"""Loss beside dead experts and usage entropy, on runs whose lowest loss is known."""

from __future__ import annotations

import polars as pl
import pytest

from moe_replication.figures import overfitting, style


def _tables(*runs: tuple[str, int, str, list[float]]) -> dict[str, pl.DataFrame]:
    """Tables of runs given as condition, seed, column of the loss and losses at epochs 1, 2, ..."""
    settings, curves = [], []
    for condition, seed, column, losses in runs:
        names = {"paper": "expert-ecology", "condition": condition, "seed": seed}
        settings.append(names | {"experts": 16, "tiers": [8, 4, 4], "dataset": "embedded-prose"})
        for epoch, loss in enumerate(losses, start=1):
            census = {"dead_experts": float(epoch), "usage_entropy": 1 - epoch / 10}
            curves.append(names | {"epoch": float(epoch), column: loss} | census)
    return {"runs": pl.DataFrame(settings), "curves": pl.DataFrame(curves, infer_schema_length=None)}


def test_the_lowest_point_is_that_of_the_mean_loss():
    """Seed 0 is lowest at epoch 3, seed 1 at epoch 1; their mean, 4, 2.5, 3, at epoch 2."""
    tables = _tables(("l1", 0, "val_loss", [6.0, 2.5, 2.0]), ("l1", 1, "val_loss", [2.0, 2.5, 4.0]))
    data = overfitting.overfitting_data(tables["runs"], tables["curves"])
    lowest = data.filter(pl.col("kind") == "lowest").select("condition", "epoch", "value", "n").rows()
    assert lowest == [("l1", 2.0, 2.5, 2)]


def test_images_have_their_test_loss_and_other_conditions_stay_out():
    runs = [("v1", 0, "test_loss", [1.0, 0.5]), ("v2-ortho-0.20", 0, "test_loss", [1.0, 0.5])]
    tables = _tables(*runs, ("l3-no-balance", 0, "val_loss", [3.0, 2.0]), ("l2-ortho-0.20", 0, "val_loss", [9.0, 9.0]))
    losses = overfitting.overfitting_data(tables["runs"], tables["curves"])
    seeds = losses.filter((pl.col("kind") == "seed") & (pl.col("series") == "loss"))
    assert seeds.select("condition", "value").rows() == [
        ("l3-no-balance", 3.0), ("l3-no-balance", 2.0), ("v1", 1.0), ("v1", 0.5),
    ]  # fmt: skip
    shown = ("l3-e0.30-entropy", "v1", "v3-e0.545", "v6-no-balance")
    assert [overfitting.column_of(name) for name in shown] == ["l3-", "v1", "v3-e0.545", None]


def test_the_lowest_loss_is_marked_in_every_panel_of_its_column():
    tables = _tables(("l1", 0, "val_loss", [3.0, 2.0, 2.5]))
    data = overfitting.overfitting_data(tables["runs"], tables["curves"])
    with style.styled():
        _, axes = style.panels(width=3, height=4, rows=2)
        for ax, series in zip(axes.flat, ("loss", "dead_experts"), strict=True):
            overfitting.panel(ax, data, series, overfitting.looks_of(["l1"]))
    for ax in axes.flat:
        assert [list(line.get_xdata()) for line in ax.lines if line.get_linestyle() == ":"] == [[2.0, 2.0]]
    loss, dead = ([line for line in ax.lines if line.get_marker() == "v"] for ax in axes.flat)
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in loss] == [([2.0], [2.0])]
    assert dead == []


def test_conditions_that_share_a_column_look_different():
    looks = overfitting.looks_of(["l3-e0.30", "l3-e0.30-entropy", "l3-e0.545", "l3-e1.0", "l3-no-balance"])
    assert len({look.colour for look in looks.values()}) == 5


def test_the_figure_draws_one_epoch_and_even_use(tmp_path, info):
    tables = _tables(("l1", 0, "val_loss", [3.0]), ("v6", 0, "test_loss", [1.0]))
    tables["curves"] = tables["curves"].with_columns(dead_experts=0.0, usage_entropy=1.0)
    overfitting.draw(tables, info, tmp_path / "figure")
    table = pl.read_csv(tmp_path / "figure.csv")
    assert table.group_by("kind").len().sort("kind").rows() == [("lowest", 2), ("mean", 6), ("seed", 6)]


@pytest.mark.parametrize("condition", ["v2-ortho-0.20", "iso-e0.30-cold"])
def test_a_scale_without_such_runs_gets_a_sentence(tmp_path, info, condition):
    overfitting.draw(_tables((condition, 0, "test_loss", [1.0])), info, tmp_path / "figure")
    assert (tmp_path / "figure.csv").read_text().count("\n") == 1
