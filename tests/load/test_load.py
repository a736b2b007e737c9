"""Many runs at once and a thousand of them: nothing is lost or doubled, and planning grows no faster than the runs."""

from __future__ import annotations

import polars as pl
import pytest

from many_runs import RUNS_A_WRITER, WRITERS, dry_run, made_project, tabulate, write_at_once, written
from scratch_project import make_scratch

pytestmark = pytest.mark.slow
RUNS = 1000
IDENTITY = ("scale", "paper", "condition", "seed")


def test_sixteen_processes_write_at_once_and_nothing_is_lost_or_doubled(tmp_path):
    seconds = write_at_once(tmp_path)
    print(f"{WRITERS} processes wrote {WRITERS * RUNS_A_WRITER} runs in {seconds:.1f} s")
    runs = written(tmp_path)
    assert sorted(runs["seed"]) == list(range(WRITERS * RUNS_A_WRITER))
    assert runs["run_key"].n_unique() == WRITERS * RUNS_A_WRITER
    # Half-written files have other names until they are renamed.
    assert not list(tmp_path.rglob("*.partial"))
    assert written(tmp_path).equals(runs)


@pytest.mark.long
def test_a_thousand_records_are_collected_and_mirrored_once(tmp_path, write_run):
    mlflow = pytest.importorskip("mlflow")
    from moe_replication.tracking.mirror import mirror

    project = made_project(tmp_path, RUNS, write_run)
    tabulate(project)
    runs = pl.read_parquet(tmp_path / "results/smoke/runs.parquet")
    assert runs.height == runs.select(IDENTITY).n_unique() == RUNS
    curves = pl.read_parquet(tmp_path / "results/smoke/curves.parquet")
    assert curves.select(IDENTITY).n_unique() == RUNS
    uri = f"sqlite:///{tmp_path}/results/smoke/mlflow.db"
    first = mirror(project, uri)
    conditions = runs.select("paper", "condition").n_unique()
    assert (first.created, first.updated, first.unchanged) == (RUNS + conditions, 0, 0)
    second = mirror(project, uri)
    assert (second.created, second.updated, second.unchanged) == (0, 0, RUNS + conditions)
    stored = stored_runs(mlflow.MlflowClient(uri))
    assert len(stored) == len(set(stored)) == RUNS
    assert set(stored) == set(runs.select("paper", "condition", "seed").iter_rows())


def stored_runs(client) -> list[tuple[str, str, int]]:
    """Paper, condition and seed of every run of MLflow, page by page."""
    found = []
    for experiment in client.search_experiments():
        token = None
        while True:
            page = client.search_runs([experiment.experiment_id], "tags.kind = 'run'", page_token=token)
            tags = (run.data.tags for run in page)
            found += [(experiment.name.partition("/")[0], tag["condition"], int(tag["seed"])) for tag in tags]
            token = page.token
            if not token:
                break
    return found


@pytest.mark.long
def test_planning_grows_no_faster_than_the_runs(tmp_path):
    """By functions called, which a busy machine leaves as they are; a tenth above linear is for sorting."""
    project = make_scratch(tmp_path)
    plans = [dry_run(project.root, runs) for runs in (10, 100, 1000)]
    for plan in plans:
        print(f"{plan.runs} runs: {plan.jobs} jobs, {plan.calls:,} calls, {plan.seconds} s of a counted process")
    few, some, many = plans
    assert [plan.jobs > plan.runs for plan in plans] == [True] * 3
    assert (many.calls - some.calls) / 900 <= 1.1 * (some.calls - few.calls) / 90
