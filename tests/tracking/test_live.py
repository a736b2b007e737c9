"""The live view: what a log says, and that a record takes its place."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("mlflow")
from mlflow import MlflowClient

from moe_replication.config.fingerprint import training_code_version
from moe_replication.progress import LONGEST_SILENCE, TrainingProgress
from moe_replication.tracking import live as live_module
from moe_replication.tracking.live import Live, follow, log_points, look
from moe_replication.tracking.store import open_store


def _line(step: int, loss: float) -> str:
    return f"step {step:>6}/100  loss {loss:7.4f}  lr 6.93e-02      3,047 tokens/s  eta 0:00:33\n"


def test_lines_become_points_and_a_line_that_is_still_written_is_left():
    text = f"et seed 0: starts; 100 steps\n{_line(5, 4.5)}step      5/100  val_loss 4.2190\nstep     10/100  loss  4."
    assert log_points(text) == [
        ("curve/train_loss", 4.5, 5),
        ("curve/learning_rate", 0.0693, 5),
        ("curve/val_loss", 4.219, 5),
    ]


def test_lines_are_those_that_training_writes(tmp_path):
    progress = TrainingProgress("et seed 0", 0, 100, "images", tmp_path / "log.txt")
    progress.line(7, 2.34567, 1.25e-3, 7 * 256)
    progress.say("step      7/100  test_accuracy 0.1978  dead_experts 11.0000")  # as Trainer._evaluate words it
    progress.close()
    assert log_points((tmp_path / "log.txt").read_text()) == [
        ("curve/train_loss", 2.3457, 7),
        ("curve/learning_rate", 1.25e-3, 7),
        ("curve/test_accuracy", 0.1978, 7),
        ("curve/dead_experts", 11.0, 7),
    ]


def _runs(uri: str) -> list:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("expert-threshold/smoke")
    return client.search_runs([experiment.experiment_id]) if experiment else []


def _steps(uri: str, run, name: str = "curve/train_loss") -> list[int]:
    return [point.step for point in MlflowClient(uri).get_metric_history(run.info.run_id, name)]


def _current(project, run, write_run) -> None:
    versions = {"config_version": project.condition(run).version, "training_code": training_code_version()}
    write_run(project.root, run.paper, run.condition, run.seed, record=versions)


@pytest.mark.slow
def test_a_log_is_followed_through_a_resume_a_fresh_start_and_a_second_follower(untrained, uri):
    run, results = untrained.run("expert-threshold", "et", 0), untrained.root / "results/smoke"
    log = untrained.root / run.folder / "log.txt"
    log.parent.mkdir(parents=True)

    def seen(live: Live, *steps: int, mode: str = "a") -> list[int]:
        with open(log, mode) as handle:
            handle.writelines(_line(step, 5.0 - step / 100) for step in steps)
        live.read = 0.0
        with open_store(uri, results) as store:
            assert look(store, untrained, run, live) is False
        (found,) = _runs(uri)
        assert found.info.status == "RUNNING"
        return _steps(uri, found)

    live = Live()
    assert seen(live, 1, 5, 10) == [1, 5, 10]
    assert seen(live, 10, 15) == [1, 5, 10, 15]  # resumed from a checkpoint after step 5
    assert seen(Live(), 20) == [1, 5, 10, 15, 20]
    assert seen(live, 1, mode="w") == [1]


@pytest.mark.slow
def test_a_run_whose_first_step_is_slow_is_shown_before_it_has_values(untrained, uri):
    run, live = untrained.run("expert-threshold", "et", 0), Live()
    log = untrained.root / run.folder / "log.txt"
    log.parent.mkdir(parents=True)
    log.write_text("et seed 0: starts; 100 steps\n")
    with open_store(uri, untrained.root / "results/smoke") as store:
        look(store, untrained, run, live)
    (found,) = _runs(uri)
    assert (found.info.status, found.data.metrics) == ("RUNNING", {})
    log.write_text(log.read_text() + _line(1, 5.0))
    live.read = 0.0
    with open_store(uri, untrained.root / "results/smoke") as store:
        look(store, untrained, run, live)
    assert [_steps(uri, found) for found in _runs(uri)] == [[1]]


@pytest.mark.slow
def test_a_log_of_a_run_that_stopped_long_ago_is_no_live_run(untrained, uri, monkeypatch):
    run = untrained.run("expert-threshold", "et", 0)
    log = untrained.root / run.folder / "log.txt"
    log.parent.mkdir(parents=True)
    log.write_text(_line(1, 5.0))
    now = time.time()
    monkeypatch.setattr(live_module.time, "time", lambda: now + live_module.FRESH + 1)
    with open_store(uri, untrained.root / "results/smoke") as store:
        look(store, untrained, run, Live())
    assert not _runs(uri)


@pytest.mark.slow
def test_the_record_takes_the_place_of_the_live_run_and_the_last_one_ends_the_following(
    untrained, uri, write_run, monkeypatch
):
    first, *others = untrained.runs
    for run in others:
        _current(untrained, run, write_run)
    log = untrained.root / first.folder / "log.txt"
    log.parent.mkdir(parents=True)
    log.write_text(_line(1, 5.0))
    states = []

    def finish(seconds: float) -> None:
        states.append([run.info.status for run in _runs(uri)])
        _current(untrained, first, write_run)

    monkeypatch.setattr(live_module.time, "sleep", finish)
    said = []
    follow(untrained, uri, said.append)
    assert states == [["RUNNING"]]
    (run,) = _runs(uri)
    assert (run.info.status, run.data.tags["mirrored"], "live" in run.data.tags) == ("FINISHED", "complete", False)
    assert sorted(_steps(uri, run)) == [0, 5, 10, 15, 20]
    assert said == ["1 of 6 runs to follow into smoke's MLflow"]


@pytest.mark.slow
def test_a_store_that_fails_is_a_warning_and_tried_again(untrained, write_run, monkeypatch):
    path = untrained.root / "results/smoke/mlflow.db"
    path.write_text("not a database")
    said = []

    def finish(seconds: float) -> None:
        path.unlink()
        for run in untrained.runs:
            _current(untrained, run, write_run)
        monkeypatch.setattr(live_module, "look", lambda *arguments: True)

    monkeypatch.setattr(live_module.time, "sleep", finish)
    follow(untrained, f"sqlite:///{path}", said.append)
    assert [line for line in said if line.startswith("warning: ") and "not an SQLite file" in line]


def test_a_run_of_slow_steps_is_due_for_a_line(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("moe_replication.progress.time.monotonic", lambda: clock[0])
    progress = TrainingProgress("et seed 0", 0, 100, "images", tmp_path / "log.txt")
    clock[0] += LONGEST_SILENCE
    assert not progress.is_due()
    clock[0] += 0.1
    assert progress.is_due()
    progress.line(1, 2.5, 1e-3, 256)
    assert not progress.is_due()
    progress.close()
    assert LONGEST_SILENCE < 60
