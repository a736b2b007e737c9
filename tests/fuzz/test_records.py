"""Damaged run directories: `collect` refuses them and leaves the tables of before."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle_projects import CHOSEN, finished_project
from fuzzing import Ledger, command, drawn, fuzz_bytes, fuzz_json, outcome
from moe_replication.statistics.collect import collect

pytestmark = pytest.mark.slow
RUN = Path("results/smoke/runs/expert-threshold/tc/seed-0")
ONLY = ("--scale", "smoke", "--set", f"conditions={CHOSEN['conditions']}", "--set", f"seeds={CHOSEN['seeds']}")


@pytest.fixture
def project(tmp_path: Path, write_run) -> Path:
    """Four finished runs and their tables."""
    root = tmp_path / "project"
    finished_project(root, write_run)
    assert command(root, "collect", *ONLY) is None
    return root


def collected(project: Path) -> str | None:
    """What collecting the runs of one condition says."""
    folders = [project / RUN.with_name(f"seed-{seed}") for seed in CHOSEN["seeds"]]
    return outcome(lambda: collect(folders, project / "results/smoke"), project)


@pytest.mark.parametrize(
    ("name", "count", "refused"),
    [("run.json", 120, 60), ("cost.json", 40, 20), ("environment.json", 40, 18)],
)
def test_a_changed_record_is_refused_or_harmless(project, name, count, refused):
    fuzz_json(project / RUN / name, lambda: collected(project), count).expect(refused)


@pytest.mark.parametrize("name", ["run.json", "curve.parquet", "experts.parquet"])
def test_a_file_with_other_bytes_is_refused_or_harmless(project, name):
    fuzz_bytes(project / RUN / name, lambda: collected(project), 50).expect(25)


TYPES = (pl.String, pl.Boolean, pl.List(pl.Int64), pl.Date, pl.Struct({"a": pl.Int64}), pl.Binary, pl.Int8)


def test_a_table_with_other_columns_is_refused_or_harmless(project):
    path, ledger = project / RUN / "curve.parquet", Ledger()
    table = pl.read_parquet(path)

    @drawn(40)
    @given(st.sampled_from(table.columns), st.one_of(st.none(), st.sampled_from(TYPES)), st.booleans())
    def check(column, kind, empty):
        changed = table.drop(column)
        if kind is not None:
            changed = changed.with_columns(pl.lit(None, dtype=kind).alias(column))
        (changed.clear() if empty else changed).write_parquet(path)
        ledger.note((column, kind, empty), collected(project))

    check()
    ledger.expect(20)


@pytest.mark.parametrize("name", ["run.json", "cost.json", "curve.parquet", "experts.parquet"])
def test_what_is_no_file_is_refused(project, name):
    path = project / RUN / name
    path.unlink()
    assert name in command(project, "collect", *ONLY)
    path.mkdir()
    assert name in command(project, "collect", *ONLY)
    path.rmdir()
    path.symlink_to(path.name)  # a circle
    assert name in command(project, "collect", *ONLY)


def test_a_run_in_the_folder_of_another_is_refused(project):
    shutil.copytree(project / RUN, project / RUN.with_name("seed-1"), dirs_exist_ok=True)
    assert "does not match its folder" in command(project, "collect", *ONLY)
