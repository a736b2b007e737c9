from __future__ import annotations

import json

import polars as pl
import pytest

from moe_replication.errors import BadInput
from moe_replication.files import write_json
from moe_replication.statistics.collect import collect, metric_columns, read_record, read_runs


def run_directories(root):
    return sorted((root / "results/smoke/runs").glob("*/*/seed-*"))


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    write_json(path, content)


def test_collect_writes_the_three_tables(finished_results, tmp_path):
    directories = run_directories(finished_results)
    assert collect(directories, tmp_path / "out") == []
    runs = read_runs(tmp_path / "out/runs.parquet")
    assert runs.height == len(directories) == 81
    assert runs.columns[:7] == ["scale", "paper", "condition", "seed", "run_key", "val_loss", "train_loss"]
    assert runs.columns[21:25] == ["imported", "title", "rows", "task"]
    curves, experts = (pl.read_parquet(tmp_path / f"out/{name}.parquet") for name in ("curves", "experts"))
    assert curves.columns[:4] == experts.columns[:4] == ["paper", "condition", "seed", "step"]
    assert curves.height == 81 * 5
    assert experts.schema["taxonomy"] == pl.String


def test_one_row_holds_what_the_record_says(write_run, tmp_path):
    directory = write_run(tmp_path, "expert-ecology", "v8-32-experts", 1, metrics={"dead_experts": 25})
    collect([directory], tmp_path)
    row = read_runs(tmp_path / "runs.parquet").row(0, named=True)
    assert (row["dead_experts"], row["control_number"]) == (25.0, pytest.approx(6 / 11))
    assert (row["tiers"], row["rows"], row["dtype"]) == ([16, 8, 8], ["V8"], "float32")
    assert (row["val_loss"], row["mixed_versions"], row["imported"]) == (None, False, False)
    assert row["wall_seconds"] > 0
    assert row["taxonomy_dead"] is not None


def test_metric_columns_are_the_metrics_only(finished_results, tmp_path):
    collect(run_directories(finished_results), tmp_path)
    names = metric_columns(read_runs(tmp_path / "runs.parquet"))
    assert names[:2] == ["val_loss", "train_loss"]
    assert {"cutoff_std", "tier_share_3", "generalization_gap"} <= set(names)
    assert not {"seed", "tokens", "temperature", "mixed_versions", "experts"} & set(names)


def test_metrics_absent_from_a_run_are_null(write_run, tmp_path):
    directories = [write_run(tmp_path, "expert-threshold", name, 0) for name in ("dense", "et")]
    collect(directories, tmp_path)
    assert read_runs(tmp_path / "runs.parquet")["usage_std"].is_null().to_list() == [True, False]


@pytest.mark.parametrize(
    ("field", "value"),
    [("training_code", "ffffffffffff"), ("lock_sha256", "00" * 32), ("data_sha256", "11" * 32)],
)
def test_mixed_versions_are_marked_and_said(write_run, tmp_path, field, value):
    directories = [
        write_run(tmp_path, "expert-threshold", "et", 0),
        write_run(tmp_path, "expert-threshold", "et", 1, record={field: value}),
        write_run(tmp_path, "expert-ecology", "v1", 0),
    ]
    (warning,) = collect(directories, tmp_path)
    assert "expert-threshold" in warning
    assert f"pools versions of {field}" in warning
    assert f"{value[:12]} in 1 runs" in warning
    runs = read_runs(tmp_path / "runs.parquet")
    assert dict(runs.group_by("paper").agg(pl.col("mixed_versions").all()).rows()) == {
        "expert-threshold": True,
        "expert-ecology": False,
    }


def test_different_data_of_two_conditions_is_not_a_mixture(write_run, tmp_path):
    directories = [
        write_run(tmp_path, "expert-ecology", "v1", 0),
        write_run(tmp_path, "expert-ecology", "v6", 0, record={"data_sha256": "11" * 32}),
    ]
    assert collect(directories, tmp_path) == []


@pytest.mark.parametrize("name", ["run.json", "config.json", "cost.json", "environment.json", "curve.parquet"])
def test_a_missing_file_is_named(write_run, tmp_path, name):
    directory = write_run(tmp_path, "expert-threshold", "et", 0)
    (directory / name).unlink()
    with pytest.raises(BadInput, match=f"seed-0/{name}: no such file"):
        read_record(directory)


@pytest.mark.parametrize("name", ["curve.parquet", "experts.parquet"])
@pytest.mark.parametrize("keep", [0, 0.5, 0.99])
def test_a_truncated_table_is_named(write_run, tmp_path, name, keep):
    path = write_run(tmp_path, "expert-threshold", "et", 0) / name
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * keep)])
    with pytest.raises(BadInput, match=f"{name}: not a readable parquet file"):
        read_record(path.parent)


def test_truncated_json_is_named(write_run, tmp_path):
    path = write_run(tmp_path, "expert-threshold", "et", 0) / "run.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(BadInput, match=r"run\.json: not valid JSON"):
        read_record(path.parent)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(format=1), "format = 1, this version reads 2"),
        (lambda r: r.pop("metrics"), "missing metrics"),
        (lambda r: r["run"].pop("seed"), "missing seed"),
        (
            lambda r: r["run"].update(seed=7),
            "smoke expert-threshold et seed 7, which does not match its folder",
        ),
        (lambda r: r["run"].update(condition="tc"), "does not match its folder"),
        (lambda r: r["settings"].pop("tiers"), "missing tiers"),
        (lambda r: r["metrics"].update(val_loss="low"), "metrics.val_loss = 'low' must be a finite number"),
        (lambda r: r["metrics"].update(val_loss=True), "val_loss = True must be a finite number"),
        (lambda r: r["metrics"].update(steps=1), "metrics.steps has the name of another column"),
    ],
)
def test_a_faulty_record_is_named(write_run, tmp_path, change, message):
    directory = write_run(tmp_path, "expert-threshold", "et", 0)
    edit(directory / "run.json", change)
    with pytest.raises(BadInput, match=message):
        read_record(directory)


def test_a_table_without_its_columns_is_named(write_run, tmp_path):
    directory = write_run(tmp_path, "expert-threshold", "et", 0)
    pl.read_parquet(directory / "curve.parquet").drop("epoch").write_parquet(directory / "curve.parquet")
    with pytest.raises(BadInput, match=r"curve\.parquet: missing column epoch"):
        read_record(directory)


def test_an_empty_curve_is_refused_and_empty_experts_are_not(write_run, tmp_path):
    directory = write_run(tmp_path, "expert-threshold", "dense", 0)
    assert read_record(directory).experts.is_empty()
    pl.read_parquet(directory / "curve.parquet").clear().write_parquet(directory / "curve.parquet")
    with pytest.raises(BadInput, match=r"curve\.parquet: no rows"):
        read_record(directory)


def test_lists_that_cannot_be_pooled_are_refused(write_run, tmp_path):
    smoke = write_run(tmp_path, "expert-threshold", "et", 0)
    demo = write_run(tmp_path, "expert-threshold", "et", 0, scale="demo")
    with pytest.raises(BadInput, match="several scales given"):
        collect([smoke, demo], tmp_path)
    with pytest.raises(BadInput, match="et seed 0 is listed twice"):
        collect([smoke, smoke], tmp_path)
    with pytest.raises(BadInput, match="no run directories"):
        collect([], tmp_path)
    assert not (tmp_path / "runs.parquet").exists()


def test_titles_and_rows_are_todays(write_run, tmp_path):
    """They are words of the matrix: a run does not depend on them."""
    directory = write_run(tmp_path, "expert-ecology", "v1", 0)
    labels = {("expert-ecology", "v1"): {"title": "another title", "rows": ["V1", "X9"]}}
    collect([directory], tmp_path / "out", labels)
    row = pl.read_parquet(tmp_path / "out/runs.parquet").row(0, named=True)
    assert (row["title"], row["rows"]) == ("another title", ["V1", "X9"])


def test_best_values_are_those_of_the_curve(write_run, tmp_path):
    directory = write_run(tmp_path, "expert-threshold", "et", 0)
    curve = pl.read_parquet(directory / "curve.parquet")
    curve.with_columns(val_loss=pl.Series([4.0, 3.0, None, 2.5, 3.5])).write_parquet(directory / "curve.parquet")
    row = read_record(directory).row
    assert (row["best_val_loss"], row["best_test_accuracy"]) == (2.5, None)


def test_cost_and_machine_of_a_run_are_in_its_row(write_run, tmp_path):
    directory = write_run(tmp_path, "expert-ecology", "v1", 0)
    edit(directory / "cost.json", lambda cost: cost.update(starts=3, killed=2))
    edit(directory / "environment.json", lambda found: found.update(deterministic=False, processes=8))
    collect([directory], tmp_path)
    row = read_runs(tmp_path / "runs.parquet").row(0, named=True)
    assert (row["starts"], row["killed"], row["deterministic"], row["processes"]) == (3, 2, False, 8)


def test_claims_are_counted_as_they_stood_at_training(write_run, tmp_path):
    directories = [write_run(tmp_path, "expert-ecology", "v1", seed) for seed in (0, 1, 2)]
    for directory, digest in zip(directories, ("aaa", "aaa", "bbb"), strict=True):
        edit(directory / "environment.json", lambda found, digest=digest: found.update(claims={"b-one": digest}))
    collect(directories, tmp_path)
    assert pl.read_parquet(tmp_path / "registered-claims.parquet").rows() == [
        ("expert-ecology", "b-one", "aaa", 2),
        ("expert-ecology", "b-one", "bbb", 1),
    ]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("run.json", lambda found: found["settings"].update(top_k="two"), r"top_k = 'two' must be Int64"),
        ("run.json", lambda found: found["counts"].update(steps=None), r"steps = None must be Int64"),
        ("cost.json", lambda found: found.update(wall_seconds="long"), r"wall_seconds = 'long' must be Float64"),
        ("cost.json", lambda found: found.update(killed=None), r"killed = None must be Int64"),
        ("environment.json", lambda found: found.update(threads="all"), r"threads = 'all' must be Int64"),
        ("environment.json", lambda found: found.update(claims=["a"]), r"claims must map ids to digests"),
    ],
)
def test_a_value_of_the_wrong_type_names_the_file_that_holds_it(write_run, tmp_path, name, change, message):
    directory = write_run(tmp_path, "expert-threshold", "et", 0)
    edit(directory / name, change)
    with pytest.raises(BadInput, match=rf"seed-0/{name}: {message}"):
        read_record(directory)
