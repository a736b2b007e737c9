"""The sweeps of the orthogonality weight, and where the paper's values stand beside them."""

from __future__ import annotations

import polars as pl
import pytest

from moe_replication.figures import ortho, style
from moe_replication.figures.ecology_runs import set_look
from moe_replication.figures.style import FigureInfo


def _run(condition: str, rows: list[str], weight: float, dead: float, quality: float, seed: int = 0) -> dict:
    text = condition.startswith("l")
    return {
        "paper": "expert-ecology", "condition": condition, "seed": seed, "rows": rows, "ortho_weight": weight,
        "dead_experts": dead, "task": "language" if text else "vision",
        "dataset": "embedded-prose" if text else "cifar10",
        "test_accuracy": None if text else quality, "perplexity": quality if text else None,
    }  # fmt: skip


RUNS = pl.DataFrame(
    [
        _run("v1", ["V1", "V2", "ISO"], 0.0, 0.0, 0.90),
        _run("v1", ["V1", "V2", "ISO"], 0.0, 1.0, 0.92, seed=1),
        _run("v2-ortho-0.20", ["V2"], 0.2, 3.0, 0.88),
        _run("v6", ["V6"], 0.05, 7.0, 0.33),
        _run("l1", ["L1", "L2"], 0.0, 0.0, 400.0),
        _run("l2-ortho-0.02", ["L2"], 0.02, 2.0, 500.0),
    ],
    infer_schema_length=None,
)


def _paper(info: FigureInfo, scale: str) -> list[tuple]:
    chosen = FigureInfo(analysis=info.analysis, scale=scale, paper_values=info.paper_values)
    rows = ortho.ortho_data(RUNS, chosen).filter(pl.col("source") == "paper")
    return rows.select("sweep", "measure", "ortho_weight", "value").rows()


def test_a_sweep_is_its_row_of_the_matrix_with_the_shared_baseline(info):
    data = ortho.ortho_data(RUNS, info)
    dead = data.filter((pl.col("source") == "run") & (pl.col("measure") == "dead_experts"))
    assert sorted(dead.select("sweep", "ortho_weight", "value").rows()) == [
        ("L2", 0.0, 0.0), ("L2", 0.02, 2.0), ("V2", 0.0, 0.0), ("V2", 0.0, 1.0), ("V2", 0.2, 3.0),
    ]  # fmt: skip
    means = data.filter((pl.col("source") == "mean") & (pl.col("measure") == "test_accuracy"))
    assert means.sort("ortho_weight").select("n", "value").rows() == [(2, pytest.approx(0.91)), (1, 0.88)]


def test_the_papers_perplexities_stand_at_its_own_scale_only(info):
    counts = [("V2", "dead_experts", 0.0, 0.0), ("V2", "dead_experts", 0.2, 0.0)]
    counts += [("L2", "dead_experts", 0.0, 0.0), ("L2", "dead_experts", 0.02, 0.0)]
    assert _paper(info, "cpu") == counts
    assert _paper(info, "paper") == [*counts, ("L2", "perplexity", 0.0, 35041.0), ("L2", "perplexity", 0.02, 33493.0)]


def test_every_run_is_visible_at_its_weight(info):
    data = ortho.ortho_data(RUNS, info).filter(pl.col("sweep") == "V2")
    with style.styled():
        _, axes = style.panels(width=3, height=2)
        ortho.ortho_panel(axes[0, 0], data, "test_accuracy", set_look("CIFAR-10"))
    dots = [line for line in axes[0, 0].lines if line.get_marker() == "o"]
    points = [(round(x), round(y, 6)) for line in dots for x, y in zip(*line.get_data(), strict=True)]
    assert sorted(points) == [(0, 90.0), (0, 92.0), (1, 88.0)]
    assert [tick.get_text() for tick in axes[0, 0].get_xticklabels()] == ["0", "0.2"]


def test_the_figure_holds_what_is_drawn(tmp_path, info):
    ortho.draw({"runs": RUNS}, info, tmp_path / "figure")
    table = pl.read_csv(tmp_path / "figure.csv")
    assert table["source"].value_counts().sort("source").rows() == [("mean", 8), ("paper", 4), ("run", 10)]
    assert table["data_used"].unique().sort().to_list() == ["cifar10", "embedded-prose"]


def test_a_scale_without_sweeps_gets_a_sentence(tmp_path, info):
    ortho.draw({"runs": RUNS.filter(pl.col("condition") == "v6")}, info, tmp_path / "figure")
    assert (tmp_path / "figure.csv").read_text().count("\n") == 1
