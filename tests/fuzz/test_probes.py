"""Damaged probe tables and CORE bundles: refused with the file's name, nothing written."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_bundles import core_settings_of, write_bundle, zip_bundle
from fuzzing import Ledger, command, drawn, fuzz_bytes, fuzz_json, fuzz_tree, outcome, small_project
from moe_replication.config import load_project
from moe_replication.config.fingerprint import training_code_version
from moe_replication.config.probe import METRICS_FILE, probe_folder
from moe_replication.evaluation.core_bundle import open_bundle
from moe_replication.files import write_json
from moe_replication.statistics.probe_tables import SCHEMAS, probe_table

pytestmark = pytest.mark.slow
ROW = {pl.String: "causal", pl.Int64: 3, pl.Float64: 0.5, pl.List(pl.Int64): [1, 2]}
ONLY = ("--scale", "smoke", "--set", "papers=[expert-threshold]", "--set", "conditions=[et]")
# A column that should hold something else.
ODD = {
    "text": pl.lit("x"),
    "flag": pl.lit(True),
    "list": pl.lit(["x"], dtype=pl.List(pl.String)),
    "lists": pl.lit([[1]], dtype=pl.List(pl.List(pl.Int64))),
    "bytes": pl.lit(b"\xff"),
    "struct": pl.struct(a=pl.lit(1)),
    "real": pl.lit(0.5),
    "small": pl.lit(3, dtype=pl.Int8),
    "date": pl.lit(0).cast(pl.Date),
    "nothing": pl.lit(None),
}
SETTINGS = core_settings_of()


@pytest.fixture
def probed(tmp_path) -> tuple[Path, Path]:
    """A project with one probed run, and the folder of its probe."""
    root = small_project(tmp_path / "project")
    chosen = {"scale": "smoke", "papers": ["expert-threshold"], "conditions": ["et"]}
    project = load_project(root, chosen)
    [run] = project.runs
    made_by = {"config_version": project.condition(run).version, "training_code": training_code_version()}
    record = {"title": "ET", "settings": {"rule": "expert_threshold"}} | made_by
    write_json(root / run.folder / "run.json", record)
    folder = root / probe_folder(run)
    folder.mkdir(parents=True)
    for name, schema in SCHEMAS.items():
        row = {column: ROW[kind] for column, kind in schema.items()}
        probe_table(name, [row]).write_parquet(folder / f"{name}.parquet")
    write_json(folder / METRICS_FILE, {"fanout_mean": 1.0, "val_loss_documents": 3.0})
    return root, folder


def collected(root: Path) -> str | None:
    """What `collect-probes` says; the tables that it wrote are removed."""
    message = command(root, "collect-probes", *ONLY)
    if message is None:
        for path in (root / "results/smoke").glob("probe-*.parquet"):
            path.unlink()
    return message


@pytest.mark.parametrize("name", ["fanout", "token_map"])
def test_a_probe_table_with_other_columns_is_refused_or_harmless(probed, name):
    root, folder = probed
    path, ledger = folder / f"{name}.parquet", Ledger()
    table = pl.read_parquet(path)

    @drawn(25)
    @given(st.sampled_from(table.columns), st.sampled_from([*ODD, None]))
    def check(column, kind):
        rest = table.drop(column)
        (rest if kind is None else rest.with_columns(ODD[kind].alias(column))).write_parquet(path)
        ledger.note((column, kind), collected(root))

    check()
    ledger.expect(8)


@pytest.mark.parametrize("name", ["fanout.parquet", METRICS_FILE])
def test_other_bytes_in_a_probe_are_refused_or_harmless(probed, name):
    root, folder = probed
    fuzz_bytes(folder / name, lambda: collected(root), 25).expect(10)


def test_changed_numbers_of_a_probe_are_refused_or_harmless(probed):
    root, folder = probed
    fuzz_json(folder / METRICS_FILE, lambda: collected(root), 30).expect(8)


def test_a_changed_task_list_of_core_is_refused_or_harmless(tmp_path):
    folder = write_bundle(tmp_path)
    read = lambda: outcome(lambda: open_bundle(tmp_path, SETTINGS), tmp_path)  # noqa: E731
    fuzz_tree(folder / "core.yaml", read, 110).expect(55)


@pytest.mark.parametrize("name", ["core.yaml", "eval_meta_data.csv", "eval_data/logic/order.jsonl"])
@pytest.mark.parametrize("packed", [False, True])
def test_other_bytes_in_a_core_bundle_are_refused_or_harmless(tmp_path, name, packed):
    folder = write_bundle(tmp_path / "there")

    def read() -> str | None:
        bundle = zip_bundle(folder, tmp_path / "bundle.zip") if packed else tmp_path / "there"
        return outcome(lambda: open_bundle(bundle, SETTINGS), tmp_path)

    fuzz_bytes(folder / name, read, 40).expect(10)


def test_other_bytes_of_the_zip_are_refused_or_harmless(tmp_path):
    path = zip_bundle(write_bundle(tmp_path / "there"), tmp_path / "bundle.zip")
    fuzz_bytes(path, lambda: outcome(lambda: open_bundle(path, SETTINGS), tmp_path), 100).expect(50)


def test_the_command_refuses_a_damaged_core_bundle(probed, tmp_path):
    root, _ = probed
    folder = write_bundle(tmp_path / "there")
    run = "results/smoke/runs/expert-threshold/et/seed-0"
    assert "core.yaml lacks" in command(root, "core", run, "--bundle", str(folder))
    shutil.rmtree(folder / "eval_data")
    (folder / "core.yaml").write_bytes(b"\xff")
    assert "core.yaml is not UTF-8" in command(root, "core", run, "--bundle", str(folder))
