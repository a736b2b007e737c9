"""Runs of several versions: marked, refused or, when asked for, pooled with a warning, wherever runs meet."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from moe_replication.cli.results import compare as compare_command
from moe_replication.cli.results import figure as figure_command
from moe_replication.errors import BadInput
from moe_replication.statistics.collect import collect, read_runs
from moe_replication.statistics.versions import check_pool, marked_versions, refuse_mixed

ROOT = Path(__file__).parents[2]
PAPER = "expert-threshold"


@pytest.fixture
def runs(write_run, tmp_path):
    """Two seeds of three conditions of paper A, and one run of paper B."""
    folders = [write_run(tmp_path, PAPER, condition, seed) for condition in ("dense", "tc", "et") for seed in (0, 1)]
    collect([*folders, write_run(tmp_path, "expert-ecology", "v1", 0)], tmp_path / "results/smoke")
    return read_runs(tmp_path / "results/smoke/runs.parquet")


@pytest.mark.parametrize("column", ["training_code", "lock_sha256"])
def test_versions_within_a_paper_are_refused_and_named(runs, column):
    changed = pl.when(pl.col("condition") == "et").then(pl.lit("feedbeef" * 4)).otherwise(column)
    message = rf"{PAPER}: {column} is \w{{12}} in dense, tc; feedbeeffeed in et\).* pool_mixed_versions to true"
    with pytest.raises(BadInput, match=message):
        refuse_mixed(runs.with_columns(changed.alias(column)))


def test_data_may_differ_between_conditions_only(runs):
    other = pl.lit("feedbeef" * 8)
    refuse_mixed(runs.with_columns(data_sha256=pl.when(condition="et").then(other).otherwise("data_sha256")))
    with pytest.raises(BadInput, match="data_sha256 is"):
        refuse_mixed(runs.with_columns(data_sha256=pl.when(seed=1).then(other).otherwise("data_sha256")))


def test_imported_runs_may_differ_in_commit_but_not_in_training_code(runs):
    imported = runs.with_columns(git_commit=pl.format("{}", "seed"), imported=pl.col("seed") == 1)
    refuse_mixed(imported)
    with pytest.raises(BadInput, match="training_code"):
        refuse_mixed(
            imported.with_columns(training_code=pl.when("imported").then(pl.lit("x")).otherwise("training_code"))
        )


@pytest.mark.parametrize(
    ("column", "other"), [("device", "NVIDIA H200"), ("dtype", "bfloat16"), ("deterministic", False)]
)
def test_runs_of_another_machine_precision_or_mode_are_marked_and_refused(runs, column, other):
    in_et = pl.when(pl.col("condition") == "et").then(pl.lit(other)).otherwise(column)
    mixed, (warning,) = marked_versions(runs.with_columns(in_et.alias(column)))
    assert f"pools versions of {column}" in warning
    assert f"{other} in 2 runs" in warning
    assert mixed.filter("mixed_versions")["paper"].unique().to_list() == [PAPER]
    with pytest.raises(BadInput, match=rf"{column} is \w+ in dense, tc; {other} in et"):
        refuse_mixed(mixed)


def test_a_recipe_may_set_the_precision_of_its_conditions(runs):
    of_et = pl.col("condition") == "et"
    released = runs.with_columns(
        recipe=pl.when(of_et).then(pl.lit("released")).otherwise(pl.lit("paper")),
        dtype=pl.when(of_et).then(pl.lit("bfloat16")).otherwise("dtype"),
    )
    refuse_mixed(released)
    one_seed = pl.when(of_et & (pl.col("seed") == 1)).then(pl.lit("float32")).otherwise("dtype")
    with pytest.raises(BadInput, match=r"dtype is bfloat16 in et; float32 in et\)"):
        refuse_mixed(released.with_columns(dtype=one_seed))


def test_one_paper_does_not_answer_for_the_other(runs):
    foreign = pl.when(pl.col("paper") == PAPER).then("device").otherwise(pl.lit("NVIDIA H200"))
    assert check_pool(runs.with_columns(device=foreign), mixed=False) == []


@pytest.fixture
def mixed_project(runs, tmp_path, monkeypatch) -> Path:
    """A project folder, entered, whose runs of et are of another training code."""
    for part in ("config", "workflow", "requirements.lock"):
        (tmp_path / part).symlink_to(ROOT / part)
    other = pl.when(pl.col("condition") == "et").then(pl.lit("feedbeef" * 2)).otherwise("training_code")
    runs.with_columns(training_code=other).write_parquet(tmp_path / "results/smoke/runs.parquet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_pair_of_several_versions_is_refused_or_warned_of(mixed_project, capsys):
    with pytest.raises(BadInput, match=r"training_code is feedbeeffeed in et; 0123456789ab in tc"):
        compare_command(["et", "tc"], scale="smoke")
    compare_command(["dense", "tc"], scale="smoke")
    assert "warning" not in capsys.readouterr().out
    compare_command(["et", "tc"], scale="smoke", overrides=["pool_mixed_versions=true"])
    assert "warning: expert-threshold at scale smoke pools versions of training_code" in capsys.readouterr().out


def test_a_figure_of_several_versions_is_refused_or_warned_of(mixed_project, capsys):
    picture = mixed_project / "figures/smoke/a-fig10-warmup.png"
    with pytest.raises(BadInput, match=r"training_code is .* feedbeeffeed in et"):
        figure_command(["b-held-out", "a-fig10-warmup"], scale="smoke")
    assert not picture.parent.exists()
    figure_command(["a-fig10-warmup"], scale="smoke", overrides=["pool_mixed_versions=true"])
    assert "warning: expert-threshold at scale smoke pools versions of training_code" in capsys.readouterr().out
    assert picture.is_file()
