"""`why`: the state of a run and its reasons, from its record and its checkpoint."""

from __future__ import annotations

import os

from moe_replication.config.fingerprint import run_key, training_code_version
from moe_replication.config.needs import data_path
from moe_replication.config.project import Project, Run
from moe_replication.files import sha256_json, write_json
from moe_replication.why.costs import run_costs
from moe_replication.why.run_states import RunState, run_state, setting_changes
from why_records import finish, tc


def test_run_without_a_file_was_never_trained(project):
    assert run_state(project, tc(project)) == RunState(state="missing", reasons=("never trained",))


def test_record_of_today_is_up_to_date(project):
    finish(project, tc(project))
    assert run_state(project, tc(project)) == RunState(state="up to date")


def test_changed_setting_is_named_with_its_old_and_new_value(project):
    folder = finish(project, tc(project), config_version="of another day")
    values = project.condition(tc(project)).values
    old = values | {"routing": values["routing"] | {"top_k": 7}}
    write_json(folder / "config.json", {"config": old, "origins": {}})
    assert run_state(project, tc(project)) == RunState(state="stale", reasons=("routing.top_k: 7 -> 1",))


def test_setting_changes_name_leaves_new_keys_and_sections():
    old = {"task": "vision", "routing": {"top_k": 2, "pool": "batch"}, "ecology": {"temperature": 2.0}}
    new = {"task": "vision", "routing": {"top_k": 1, "pool": "batch", "bias_rate": 0.0}, "ecology": None}
    assert setting_changes(old, new) == [
        "routing.top_k: 2 -> 1", "routing.bias_rate: not set -> 0.0", "ecology: a section -> null",
    ]  # fmt: skip


def test_many_changed_settings_are_counted(project):
    folder = finish(project, tc(project), config_version="of another day")
    write_json(folder / "config.json", {"config": {}, "origins": {}})
    reasons = run_state(project, tc(project)).reasons
    assert len(reasons) == 7
    assert reasons[0] == "task: not set -> language"
    assert reasons[-1].endswith(" more settings")


def test_other_training_code_is_named_with_the_modules_that_are_newer(project):
    record = finish(project, tc(project), training_code="0123456789ab") / "run.json"
    os.utime(record, (0, 0))
    [reason] = run_state(project, tc(project)).reasons
    assert reason.startswith(f"training code differs (0123456789ab -> {training_code_version()}), edited since: ")
    os.utime(record, (4e9, 4e9))
    assert run_state(project, tc(project)).reasons == (reason.partition(", edited")[0],)


def test_deleted_record_and_deleted_curve_are_missing(project):
    folder = finish(project, tc(project))
    (folder / "curve.parquet").unlink()
    assert run_state(project, tc(project)) == RunState(state="missing", reasons=("missing: curve.parquet",))
    (folder / "run.json").unlink()
    assert run_state(project, tc(project)).reasons == ("run.json is missing, other files are there",)


def test_broken_record_is_stale(project):
    folder = finish(project, tc(project))
    (folder / "run.json").write_text("{", encoding="utf-8")
    found = run_state(project, tc(project))
    assert found.state == "stale"
    assert "not valid JSON" in found.reasons[0]


def interrupt(project: Project, run: Run, step: int, values: dict) -> None:
    """Leave a checkpoint, as a killed run of these settings does."""
    manifest = {"splits": "made up"}
    write_json(project.root / data_path(project.data_folder, run.config) / "manifest.json", manifest)
    name = (run.scale, run.paper, run.condition, run.seed)
    key = run_key(name, values, sha256_json(manifest), training_code_version())
    write_json(project.root / "results/smoke/checkpoints" / key / f"step-{step:08d}/manifest.json", {"step": step})


def test_checkpoint_without_record_is_an_interrupted_run_that_costs_the_rest(project):
    finish(project, tc(project, 1), seconds=4.0)
    run = tc(project)
    interrupt(project, run, 5, project.condition(run).values)
    state = run_state(project, run)
    assert (state.state, state.steps_done) == ("interrupted", 5)
    assert state.reasons == ("no record, but a checkpoint after step 5: the run goes on from there",)
    # Ten steps took four seconds with the other seed; five are left.
    assert run_costs(project, {tc(project, 1): RunState(state="up to date"), run: state})[run].seconds == 2.0


def test_checkpoint_of_other_settings_is_not_resumed(project):
    interrupt(project, tc(project), 5, project.condition(tc(project)).values | {"task": "vision"})
    assert run_state(project, tc(project)).state == "missing"
