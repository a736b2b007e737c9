"""Mirroring: what runs and summaries carry, and that repeating, changing and interrupting it are safe."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest

from moe_replication.errors import BadInput
from moe_replication.files import read_json, write_json
from moe_replication.tracking import LAST_FAILURE, TrackingError

pytest.importorskip("mlflow")
from mlflow import MlflowClient
from mlflow.entities import ViewType

from moe_replication.tracking import store as store_module
from moe_replication.tracking.mirror import mirror
from moe_replication.tracking.readings import claims_on, verdict_counts
from moe_replication.tracking.status import mirror_and_report

A, B = "expert-threshold", "expert-ecology"


def _counts(report) -> tuple[int, int, int]:
    return report.created, report.updated, report.unchanged


def _stored(uri: str, paper: str, kind: str, view: int = ViewType.ACTIVE_ONLY) -> dict:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(f"{paper}/smoke")
    found = client.search_runs([experiment.experiment_id], f"tags.kind = '{kind}'", run_view_type=view)
    return {run.data.tags["mlflow.runName"]: run for run in found}


def _losses(project, condition: str) -> list[float]:
    runs = [run for run in project.runs if run.condition == condition]
    return [read_json(project.root / run.folder / "run.json")["metrics"]["val_loss"] for run in runs]


def _claims(project) -> list[dict]:
    return read_json(project.root / "results/smoke/scorecard.json")["claims"]


def _check_run(project, uri: str) -> None:
    run = _stored(uri, A, "run")["et seed 1"]
    record = read_json(project.root / "results/smoke/runs/expert-threshold/et/seed-1/run.json")
    tags = run.data.tags
    assert (tags["condition"], tags["seed"], tags["scale"], tags["recipe"]) == ("et", "1", "smoke", "paper")
    assert tags["row"] == "ET, warm-up"
    assert "Table 1" in tags["table"].split("; ")
    assert (tags["mirrored"], run.info.status, tags["run_key"]) == ("complete", "FINISHED", record["run"]["run_key"])
    assert run.data.metrics["val_loss"] == record["metrics"]["val_loss"]
    assert (run.data.params["routing.rule"], run.data.params["Rule"]) == (
        "expert_threshold",
        record["settings"]["rule"],
    )
    assert tags["mlflow.parentRunId"] == _stored(uri, A, "summary")["et (n = 2)"].info.run_id
    history = MlflowClient(uri).get_metric_history(run.info.run_id, "curve/val_loss")
    assert sorted(point.step for point in history) == [10, 20]
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("embedded", "cd" * 16)
    assert json.loads(data.dataset.profile) == {"data_sha256": "cd" * 32}
    assert "embedded-512" in json.loads(data.dataset.source)["uri"]
    ecology = _stored(uri, B, "run")["v1 seed 0"]
    assert (ecology.data.tags["E"], "recipe" in ecology.data.tags) == ("0.5455", False)
    assert float(ecology.data.params["E"]) == pytest.approx(2.0 * 0.15 / 0.55)
    assert {name: float(ecology.data.params[name]) for name in "THOB"} == {"T": 2.0, "H": 0.15, "O": 0.15, "B": 0.4}


def _check_summary(project, uri: str) -> None:
    et, tc = _losses(project, "et"), _losses(project, "tc")
    differences = [a - b for a, b in zip(et, tc, strict=True)]
    summary = _stored(uri, A, "summary")["et (n = 2)"]
    metrics, tags = summary.data.metrics, summary.data.tags
    assert metrics["val_loss/mean"] == pytest.approx(sum(et) / 2)
    half = 12.7062 * abs(et[0] - et[1]) / 2  # t(0.975, 1) * |difference| / 2
    assert metrics["val_loss/mean_high"] - metrics["val_loss/mean"] == pytest.approx(half, rel=1e-4)
    assert metrics["Vs/val_loss/mean"] == pytest.approx(sum(differences) / 2)
    half = 12.7062 * abs(differences[0] - differences[1]) / 2
    spread = metrics["Vs/val_loss/mean_high"] - metrics["Vs/val_loss/mean"]
    assert spread == pytest.approx(half, rel=1e-4)
    assert (metrics["Vs/val_loss/n"], metrics["Vs/val_loss/p_least"]) == (2, 0.5)
    assert (tags["baseline"], tags["seeds"]) == ("tc", "0, 1")
    params = summary.data.params
    assert params["routing.rule"] == "expert_threshold"
    assert params["Value/val_loss"].startswith(f"{sum(et) / 2:.4f} [")
    assert params["Vs/val_loss"].endswith("] vs tc, n = 2")
    assert params["Verdicts"] == verdict_counts(claims_on(_claims(project), A, "et"))
    assert tags["claim.a-et-below-tc"] in ("reproduced", "contradicted", "inconclusive")
    assert tags["claim.a-et-below-dense"] == "untestable"
    assert "against tc, n = 2 paired seeds" in tags["mlflow.note.content"]
    assert not [name for name in _stored(uri, A, "summary")["tc (n = 2)"].data.metrics if name.startswith("Vs/")]
    client = MlflowClient(uri)
    band = {name: client.get_metric_history(summary.info.run_id, f"curve/val_loss{name}") for name in ("", "_low")}
    assert [point.step for point in band[""]] == [10, 20]
    assert band[""][-1].value == pytest.approx(sum(et) / 2)
    assert band["_low"][-1].value == pytest.approx(sum(et) / 2 - 12.7062 * abs(et[0] - et[1]) / 2, rel=1e-4)
    assert "curves.png" in [item.path for item in client.list_artifacts(summary.info.run_id)]


@pytest.mark.slow
def test_runs_and_summaries_carry_what_is_on_disk_and_a_second_mirror_changes_nothing(project, uri):
    report = mirror(project, uri)
    assert _counts(report) == (9, 0, 0)  # 6 runs, 3 summaries
    _check_run(project, uri)
    _check_summary(project, uri)
    before = {name: run.data.tags for name, run in _stored(uri, A, "summary").items()}
    again = mirror(project, uri)
    assert _counts(again) == (0, 0, 9)
    assert (again.claims, again.summaries) == (report.claims, report.summaries)
    assert {name: run.data.tags for name, run in _stored(uri, A, "summary").items()} == before
    history = MlflowClient(uri).get_metric_history(report.summaries[f"{A}/et"]["run"], "curve/train_loss")
    assert len(history) == 5


@pytest.mark.slow
def test_every_claim_links_to_the_summaries_of_its_conditions(project, uri):
    line = mirror_and_report(project, uri)
    assert line.endswith("9 created, 0 updated, 0 unchanged")
    status = read_json(project.root / "results/smoke/mirror.json")
    address = status["claims"]["a-et-below-tc"]["compare"]
    asked = parse_qs(urlsplit(urlsplit(address).fragment).query)
    summaries = status["summaries"]
    assert json.loads(asked["runs"][0]) == [summaries[f"{A}/et"]["run"], summaries[f"{A}/tc"]["run"]]
    assert json.loads(asked["experiments"][0]) == [summaries[f"{A}/et"]["experiment"]]
    assert address.startswith("http://127.0.0.1:5000/#/compare-runs?")
    note = MlflowClient(uri).get_experiment(summaries[f"{A}/et"]["experiment"]).tags["mlflow.note.content"]
    assert f"]({address.removeprefix('http://127.0.0.1:5000/')})" in note
    claims = {claim["id"]: claim for claim in project.claims}
    unrun = [name for name, found in status["claims"].items() if found["compare"] is None]
    assert unrun
    assert not {name for claim in unrun for name in claims[claim]["conditions"]} & {"et", "tc", "v1"}


@pytest.mark.slow
def test_a_changed_record_replaces_its_run_and_summary_and_the_other_seed_moves_below_it(project, uri):
    before = mirror(project, uri).summaries[f"{B}/v1"]["run"]
    path = project.root / "results/smoke/runs/expert-ecology/v1/seed-0/run.json"
    record = read_json(path)
    record["metrics"]["dead_experts"] = 7.0
    write_json(path, record)
    results = project.root / "results/smoke"
    table = pl.read_parquet(results / "summary.parquet")
    changed = pl.when(pl.col("metric") == "dead_experts").then(pl.col("mean") + 1).otherwise(pl.col("mean"))
    table.with_columns(mean=changed).write_parquet(results / "summary.parquet")
    report = mirror(project, uri)
    assert report.updated >= 2
    after = report.summaries[f"{B}/v1"]["run"]
    assert after != before
    runs = _stored(uri, B, "run")
    assert runs["v1 seed 0"].data.metrics["dead_experts"] == 7.0
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {after}
    old = _stored(uri, B, "summary", ViewType.DELETED_ONLY)["v1 (n = 2)"].info
    assert old.run_id == before
    assert not list((results / "mlflow-artifacts").rglob(f"*{before}*/**/*.png"))
    assert list((results / "mlflow-artifacts").rglob(f"*{after}*/**/*.png"))


@pytest.mark.slow
def test_an_interrupted_mirror_is_redone(project, uri, monkeypatch):
    def stopped(self, *arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_terminated", stopped)
        with pytest.raises(KeyboardInterrupt):
            mirror(project, uri)
    (partial,) = _stored(uri, A, "summary").values()
    assert "mirrored" not in partial.data.tags
    assert _counts(mirror(project, uri)) == (9, 0, 0)
    whole = _stored(uri, A, "summary")[partial.data.tags["mlflow.runName"]]
    assert whole.info.run_id != partial.info.run_id
    assert whole.data.tags["mirrored"] == "complete"


@pytest.mark.slow
def test_figures_of_the_settings_are_artifacts_and_those_behind_a_verdict_are_with_its_conditions(project, uri):
    folder = project.root / "figures/smoke"
    folder.mkdir(parents=True)
    for name in ("a-fig01-loss-curves.png", "a-fig01-loss-curves.csv", "a-table01.png", "a-notes.png"):
        (folder / name).write_text("first")
    report = mirror(project, uri)
    assert report.created == 10
    client = MlflowClient(uri)
    (run,) = _stored(uri, A, "figures").values()
    names = [item.path for item in client.list_artifacts(run.info.run_id)]
    assert names == ["a-fig01-loss-curves.csv", "a-fig01-loss-curves.png", "a-table01.png"]
    summary = [item.path for item in client.list_artifacts(report.summaries[f"{A}/et"]["run"])]
    assert summary == ["a-fig01-loss-curves.png", "curves.png"]
    assert not _stored(uri, B, "figures")
    (folder / "a-table01.png").write_text("second")
    assert _counts(mirror(project, uri)) == (0, 1, 9)


@pytest.mark.slow
def test_a_faulty_record_or_a_missing_table_is_the_users_to_mend(project, uri):
    (project.root / "results/smoke/runs/expert-threshold/et/seed-0/run.json").write_text("{")
    with pytest.raises(BadInput, match=r"run\.json: not valid JSON"):
        mirror(project, uri)
    (project.root / "results/smoke/summary.parquet").unlink()
    with pytest.raises(BadInput, match=r"summary\.parquet: no such file"):
        mirror(project, uri)


def test_a_foreign_file_in_place_of_the_store_is_named_at_once(project):
    path = project.root / "results/smoke/mlflow.db"
    path.write_text("not a database")
    with pytest.raises(TrackingError, match=r"mlflow\.db: not an SQLite file"):
        mirror(project, f"sqlite:///{path}")


def test_a_dead_server_is_a_warning_without_its_password_and_leaves_a_mark(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    line = mirror_and_report(project, "http://user:secret@127.0.0.1:9")
    assert line.startswith("warning: MLflow mirror failed (http://127.0.0.1:9: ")
    results = project.root / "results/smoke"
    status, mark = (results / "mirror.json").read_text(), (results / LAST_FAILURE).read_text()
    assert json.loads(status)["failed"] in line
    assert "secret" not in line + status + mark


def test_long_curves_are_thinned_with_both_ends_kept():
    steps = range(1001)
    curve = pl.DataFrame({"step": steps, "train_loss": [float(step) for step in steps], "val_loss": 1.0})
    points = list(store_module._curve_points(curve, 0))
    assert len(points) == 2 * store_module.CURVE_POINTS
    losses = [point.step for point in points if point.key == "curve/train_loss"]
    assert (losses[0], losses[-1]) == (0, 1000)
    assert losses == sorted(set(losses))


def test_usage_reports_are_off():
    from mlflow.telemetry.utils import is_telemetry_disabled

    assert is_telemetry_disabled()
