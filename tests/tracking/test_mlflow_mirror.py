"""Mirroring into SQLite: what a run carries, and that repeating, changing and interrupting it are safe."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from moe_replication.errors import BadInput
from moe_replication.files import read_json, write_json
from moe_replication.tracking import TrackingError

mirror_module = pytest.importorskip("moe_replication.tracking.mlflow_mirror")
from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import ViewType  # noqa: E402

mirror, default_uri = mirror_module.mirror, mirror_module.default_uri


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory) -> Path:
    """A store with its schema, made once: MLflow needs seconds for that."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}")
    return path


@pytest.fixture
def runs(write_run, empty_store, tmp_path) -> list[Path]:
    """Two seeds of ET and one of v1, beside an empty store."""
    root = tmp_path / "results"
    (root / "smoke").mkdir(parents=True)
    shutil.copy(empty_store, root / "smoke" / "mlflow.db")
    named = (("expert-threshold", "et", 0), ("expert-threshold", "et", 1), ("expert-ecology", "v1", 0))
    return [write_run(tmp_path, *run) for run in named]


@pytest.fixture
def uri(tmp_path) -> str:
    return default_uri(tmp_path / "results", "smoke")


def _stored(uri: str, paper: str, kind: str = "run", view: int = ViewType.ACTIVE_ONLY) -> list:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(f"{paper}/smoke")
    found = client.search_runs([experiment.experiment_id], f"tags.kind = '{kind}'", run_view_type=view)
    return sorted(found, key=lambda run: run.data.tags["mlflow.runName"])


def _counts(report) -> tuple[int, int, int]:
    return report.created, report.updated, report.unchanged


@pytest.mark.slow
def test_a_run_is_found_by_tags_and_carries_record_config_and_curve(runs, uri):
    assert _counts(mirror(runs, uri, "smoke", extra={"machine": "test"})) == (5, 0, 0)  # 3 runs, 2 summaries
    first, second = _stored(uri, "expert-threshold")
    record = read_json(runs[0] / "run.json")
    tags = first.data.tags
    assert (tags["condition"], tags["seed"], tags["paper"]) == ("et", "0", "expert-threshold")
    assert (tags["rows"], tags["run_key"]) == ("Table 1", record["run"]["run_key"])
    assert (tags["mirrored"], tags["machine"], first.info.status) == ("complete", "test", "FINISHED")
    assert first.data.params["routing.rule"] == "expert_threshold"
    assert first.data.params["routing.temperature"] == "null"
    assert first.data.metrics["val_loss"] == record["metrics"]["val_loss"]
    assert first.data.metrics["wall_seconds"] == read_json(runs[0] / "cost.json")["wall_seconds"]
    curve = MlflowClient(uri).get_metric_history(first.info.run_id, "curve/val_loss")
    assert [point.step for point in curve] == [10, 20]
    assert second.data.tags["seed"] == "1"


@pytest.mark.slow
def test_a_summary_holds_mean_and_interval_over_seeds(runs, uri):
    mirror(runs, uri, "smoke")
    losses = [read_json(run / "run.json")["metrics"]["val_loss"] for run in runs[:2]]
    (summary,) = _stored(uri, "expert-threshold", "summary")
    metrics = summary.data.metrics
    assert metrics["val_loss/mean"] == pytest.approx(sum(losses) / 2)
    assert metrics["val_loss/n"] == 2
    half = 12.7062 * abs(losses[0] - losses[1]) / 2  # t(0.975, 1) * |difference| / 2
    assert metrics["val_loss/ci_high"] - metrics["val_loss/mean"] == pytest.approx(half, rel=1e-4)
    (single,) = _stored(uri, "expert-ecology", "summary")
    assert single.data.metrics["dead_experts/n"] == 1
    assert "dead_experts/ci_low" not in single.data.metrics


@pytest.mark.slow
def test_mirroring_twice_changes_nothing(runs, uri):
    mirror(runs, uri, "smoke")
    before = _stored(uri, "expert-threshold")
    assert _counts(mirror(runs, uri, "smoke")) == (0, 0, 5)
    after = _stored(uri, "expert-threshold")
    assert [run.info.run_id for run in before] == [run.info.run_id for run in after]
    history = MlflowClient(uri).get_metric_history(after[0].info.run_id, "curve/train_loss")
    assert len(history) == 5


@pytest.mark.slow
def test_a_changed_record_replaces_its_run_and_summary(runs, uri):
    mirror(runs, uri, "smoke")
    old = _stored(uri, "expert-threshold")[0].info.run_id
    record = read_json(runs[0] / "run.json")
    record["metrics"]["val_loss"] = 9.0
    record["run"]["run_key"] = "f" * 16
    write_json(runs[0] / "run.json", record)
    assert _counts(mirror(runs, uri, "smoke")) == (0, 2, 3)
    replaced, untouched = _stored(uri, "expert-threshold")
    assert (replaced.data.metrics["val_loss"], replaced.data.tags["run_key"]) == (9.0, "f" * 16)
    assert untouched.data.tags["seed"] == "1"
    deleted = _stored(uri, "expert-threshold", view=ViewType.DELETED_ONLY)
    assert [run.info.run_id for run in deleted] == [old]


@pytest.mark.slow
def test_an_interrupted_mirror_is_redone(runs, uri, monkeypatch):
    def stopped(self, *arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_terminated", stopped)
        with pytest.raises(KeyboardInterrupt):
            mirror(runs, uri, "smoke")
    (partial,) = _stored(uri, "expert-ecology")
    assert "mirrored" not in partial.data.tags
    assert _counts(mirror(runs, uri, "smoke")) == (5, 0, 0)
    (whole,) = _stored(uri, "expert-ecology")
    assert whole.info.run_id != partial.info.run_id
    assert whole.data.tags["mirrored"] == "complete"


@pytest.mark.slow
def test_figures_are_artifacts_beside_the_runs_and_follow_changes(runs, uri, tmp_path):
    figures = tmp_path / "figures"
    figures.mkdir()
    for name in ("a-fig01-loss-curves.png", "a-fig01-loss-curves.csv", "a-notes.txt", "c-other.png"):
        (figures / name).write_text("first")
    assert mirror(runs, uri, "smoke", figures_dir=figures).created == 6
    (run,) = _stored(uri, "expert-threshold", "figures")
    names = [item.path for item in MlflowClient(uri).list_artifacts(run.info.run_id)]
    assert names == ["a-fig01-loss-curves.csv", "a-fig01-loss-curves.png"]
    assert list((tmp_path / "results" / "smoke" / "mlflow-artifacts").rglob("*.png"))
    assert not _stored(uri, "expert-ecology", "figures")
    assert mirror(runs, uri, "smoke", figures_dir=figures).unchanged == 6
    (figures / "a-fig01-loss-curves.png").write_text("second")
    assert mirror(runs, uri, "smoke", figures_dir=figures).updated == 1
    assert len(_stored(uri, "expert-threshold", "figures")) == 1


def test_long_curves_are_thinned_with_both_ends_kept():
    steps = range(1001)
    curve = pl.DataFrame({"step": steps, "train_loss": [float(step) for step in steps], "val_loss": 1.0})
    points = list(mirror_module._curve_points(curve, 0))
    assert len(points) == 2 * mirror_module.CURVE_POINTS
    losses = [point.step for point in points if point.key == "curve/train_loss"]
    assert (losses[0], losses[-1]) == (0, 1000)
    assert losses == sorted(set(losses))


def test_parameters_are_flattened_and_cut_to_mlflows_limit():
    flat = dict(mirror_module._flat({"model": {"layers": 4, "tiers": [8, 4]}, "note": "x" * 7000}))
    assert flat["model.layers"] == "4"
    assert flat["model.tiers"] == "[8, 4]"
    assert len(flat["note"]) == 6000


def test_no_runs_need_no_store(tmp_path):
    assert _counts(mirror([], f"sqlite:///{tmp_path}/mlflow.db", "smoke")) == (0, 0, 0)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_faulty_record_is_the_users_to_mend(runs, uri):
    (runs[0] / "run.json").write_text("{")
    with pytest.raises(BadInput, match=r"run\.json: not valid JSON"):
        mirror(runs, uri, "smoke")


@pytest.mark.slow
def test_a_foreign_file_in_place_of_the_store_is_named_at_once(runs, uri, tmp_path):
    (tmp_path / "results" / "smoke" / "mlflow.db").write_text("not a database")
    with pytest.raises(TrackingError, match=r"mlflow\.db: not an SQLite file"):
        mirror(runs, uri, "smoke")


def test_a_dead_server_is_a_tracking_error_without_its_password(write_run, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run = write_run(tmp_path, "expert-threshold", "et", 0)
    with pytest.raises(TrackingError, match=r"http://127\.0\.0\.1:9: .*run records are untouched") as error:
        mirror([run], "http://user:secret@127.0.0.1:9", "smoke")
    assert "secret" not in str(error.value)


def test_usage_reports_are_off():
    from mlflow.telemetry.utils import is_telemetry_disabled

    assert is_telemetry_disabled()
