from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from moe_replication.config import load_project
from moe_replication.config.core import CORE_FILES
from moe_replication.config.figures import PROBE_TABLES
from moe_replication.config.probe import METRICS_FILE, probe_folder
from moe_replication.errors import BadInput
from moe_replication.files import write_json
from moe_replication.statistics.probe_tables import SCHEMAS, probe_table
from moe_replication.statistics.probes import LABELS, STACKED, collect_probes

ROW = {pl.String: "causal", pl.Int64: 3, pl.Float64: 0.5, pl.List(pl.Int64): [1, 2]}


@pytest.fixture(scope="module")
def runs():
    project = load_project(
        Path(__file__).parents[2],
        {"scale": "smoke", "papers": ["expert-threshold"], "conditions": ["dense", "et"], "seeds": [0, 1]},
    )
    return project.runs


@pytest.fixture
def root(tmp_path, runs):
    """Probes of two conditions and two seeds: empty routing tables under dense, one row a table otherwise."""
    for run in runs:
        record = {"title": run.condition.upper(), "settings": {"rule": run.config.routing.rule}}
        write_json(tmp_path / run.folder / "run.json", record)
        folder = tmp_path / probe_folder(run)
        folder.mkdir(parents=True)
        for name, schema in SCHEMAS.items():
            filled = run.condition == "et" or name == "documents"
            rows = [{column: ROW[kind] for column, kind in schema.items()}] if filled else []
            probe_table(name, rows).write_parquet(folder / f"{name}.parquet")
        numbers = {"val_loss_documents": 3.0 + run.seed} | ({"fanout_mean": 1} if run.condition == "et" else {})
        write_json(folder / METRICS_FILE, numbers)
    return tmp_path


def test_every_table_has_columns():
    assert tuple(SCHEMAS) == PROBE_TABLES


def test_tables_are_stacked_with_the_run_in_front(root, runs):
    collect_probes(root, runs, [], root / "out")
    fanout = pl.read_parquet(root / "out/probe-fanout.parquet")
    assert dict(fanout.schema) == LABELS | SCHEMAS["fanout"]
    assert fanout.select(*LABELS).rows() == [
        ("expert-threshold", "et", 0, "ET", "expert_threshold"),
        ("expert-threshold", "et", 1, "ET", "expert_threshold"),
    ]
    assert pl.read_parquet(root / "out/probe-documents.parquet").height == 4
    assert pl.read_parquet(root / "out/probe-token_map.parquet")["experts"].to_list() == [[1, 2]] * 2
    metrics = pl.read_parquet(root / "out/probe-metrics.parquet")
    assert metrics.columns == ["paper", "condition", "seed", "fanout_mean", "val_loss_documents"]
    assert metrics.select("condition", "seed", "fanout_mean", "val_loss_documents").rows() == [
        ("dense", 0, None, 3.0), ("dense", 1, None, 4.0), ("et", 0, 1.0, 3.0), ("et", 1, 1.0, 4.0),
    ]  # fmt: skip


def test_core_is_stacked_where_runs_were_scored(root, runs):
    scored = [run for run in runs if run.condition == "et" and run.seed == 1]
    row = {"task": "copa", "kind": "multiple_choice", "shots": 0, "examples": 9, "accuracy": 0.7, "centered": 0.4}
    row |= {"cropped": 0.25}
    folder = root / probe_folder(scored[0])
    pl.DataFrame([row]).write_parquet(folder / CORE_FILES[0])
    write_json(folder / CORE_FILES[1], {"core": 40.0, "bundle_sha256": "ab"})
    collect_probes(root, runs, scored, root / "out")
    core = pl.read_parquet(root / "out/probe-core.parquet")
    assert core.select("condition", "seed", "task", "centered", "cropped").rows() == [("et", 1, "copa", 0.4, 0.25)]
    metrics = pl.read_parquet(root / "out/probe-metrics.parquet")
    assert metrics["core"].to_list() == [None, None, None, 40.0]


def test_no_run_gives_empty_tables(tmp_path):
    collect_probes(tmp_path, [], [], tmp_path)
    for name, schema in STACKED.items():
        table = pl.read_parquet(tmp_path / f"probe-{name}.parquet")
        assert table.is_empty()
        assert dict(table.schema) == LABELS | schema
    assert pl.read_parquet(tmp_path / "probe-metrics.parquet").columns == ["paper", "condition", "seed"]


@pytest.mark.parametrize(
    ("file", "spoil", "message"),
    [
        ("fanout.parquet", lambda path: path.unlink(), "fanout.parquet: no such file"),
        ("shift.parquet", lambda path: path.write_bytes(path.read_bytes()[:50]), "shift.parquet: not a readable"),
        (
            "documents.parquet",
            lambda path: pl.read_parquet(path).drop("ci_low").write_parquet(path),
            "documents.parquet: missing column ci_low",
        ),
        (
            "cutoffs.parquet",
            lambda path: pl.read_parquet(path).with_columns(layer=pl.lit("first")).write_parquet(path),
            "cutoffs.parquet: a column has the wrong type",
        ),
        (METRICS_FILE, lambda path: write_json(path, {"fanout_mean": "high"}), "fanout_mean = 'high' must be a number"),
        ("run.json", lambda path: write_json(path, {"title": "ET"}), "lacks title or settings.rule"),
    ],
)
def test_a_faulty_file_is_named(root, runs, file, spoil, message):
    folder = root / (runs[2].folder if file == "run.json" else probe_folder(runs[2]))
    spoil(folder / file)
    with pytest.raises(BadInput, match=message):
        collect_probes(root, runs, [], root / "out")
    assert not (root / "out").exists()
