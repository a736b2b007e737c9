"""`why`: states and reasons from records and from what Snakemake says, costs, names of targets, the table."""

from __future__ import annotations

import dataclasses
import os
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from moe_replication.config import load_project
from moe_replication.config.fingerprint import run_key, training_code_version
from moe_replication.config.jobs import RECORD_FILES
from moe_replication.config.needs import data_path
from moe_replication.config.project import Project, Run
from moe_replication.errors import BadInput
from moe_replication.files import sha256_json, write_json
from moe_replication.why.costs import Cost, run_costs, total
from moe_replication.why.report import duration, rebuild, total_line, why_json, why_text
from moe_replication.why.run_states import RunState, run_state, setting_changes
from moe_replication.why.snakemake_plan import JobState, ParamChange, param_changes
from moe_replication.why.targets import Target, find_targets
from moe_replication.why.words import job_reasons

ROOT = Path(__file__).parents[1]
CHOICE = {"scale": "smoke", "conditions": ["tc", "et"], "seeds": [0, 1, 2]}


@pytest.fixture(scope="module")
def loaded() -> Project:
    return load_project(ROOT, CHOICE)


@pytest.fixture
def project(loaded, tmp_path) -> Project:
    """Two conditions with three seeds, without any result."""
    return dataclasses.replace(loaded, root=tmp_path)


def finish(project: Project, run: Run, seconds: float = 2.0, **record: object) -> Path:
    """Write a record of today's settings and code; `record` replaces entries of run.json."""
    folder, condition = project.root / run.folder, project.condition(run)
    folder.mkdir(parents=True, exist_ok=True)
    for file in RECORD_FILES:
        (folder / file).write_text("{}", encoding="utf-8")
    write_json(folder / "config.json", {"config": condition.values, "origins": {}})
    write_json(folder / "cost.json", {"wall_seconds": seconds})
    found = {"config_version": condition.version, "training_code": training_code_version(), "counts": {"steps": 10}}
    write_json(folder / "run.json", found | record)
    return folder


def tc(project: Project, seed: int = 0) -> Run:
    return project.run("expert-threshold", "tc", seed)


def train_job(project: Project, *runs: Run, planned: bool) -> JobState:
    outputs = tuple(f"{run.folder}/{file}" for run in runs for file in RECORD_FILES)
    missing = tuple(file for file in outputs if not (project.root / file).exists())
    rule = f"train_{runs[0].condition}_{runs[0].seed}"
    return JobState(rule=rule, title="train", outputs=outputs, planned=planned, missing=missing)


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


def test_cost_is_a_run_s_own_wall_time_else_the_mean_of_the_other_seeds(project):
    finish(project, tc(project, 0), seconds=3.0)
    finish(project, tc(project, 1), seconds=5.0)
    stale = RunState(state="stale")
    costs = run_costs(project, {tc(project, seed): stale for seed in (0, 1, 2)})
    assert [costs[tc(project, seed)].seconds for seed in (0, 1, 2)] == [3.0, 5.0, 4.0]
    assert {cost.source for cost in costs.values()} == {"measured"}


def test_cost_is_unknown_where_the_planner_cannot_run(project, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    costs = run_costs(project, {tc(project): RunState(state="missing")})
    assert costs == {tc(project): Cost(seconds=None, source="unknown")}


def test_total_of_costs_is_as_sure_as_its_parts():
    measured, planned = Cost(seconds=1.5, source="measured"), Cost(seconds=2.0, source="planned")
    assert total([measured, measured]) == Cost(seconds=3.0, source="measured")
    assert total([measured, planned]) == Cost(seconds=3.5, source="planned")
    assert total([measured, Cost(seconds=None, source="unknown")]).seconds is None


def test_params_are_paired_by_their_form():
    change = SimpleNamespace(
        only_old={"'0123456789ab'", "['a', 'b']", "None"}, only_new={"'ba9876543210'", "['a']", "'http://x'"}
    )
    params = {"code": "ba9876543210", "names": ["a"], "uri": "http://x", "scale": "smoke"}
    assert param_changes(params, change) == (
        ParamChange(name="code", old="'0123456789ab'", new="'ba9876543210'"),
        ParamChange(name="names", old="['a', 'b']", new="['a']"),
        ParamChange(name="uri", old=None, new="'http://x'"),
    )


@pytest.fixture
def figure(tmp_path) -> JobState:
    """A planned job whose two files are there and older than any module."""
    outputs = ("figures/smoke/b-x.png", "figures/smoke/b-x.csv")
    for file in outputs:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
        os.utime(tmp_path / file, (0, 0))
    return JobState(rule="figures_cutoff", title="draw b-x", outputs=outputs, planned=True)


def test_changed_figure_module_is_named(tmp_path, figure):
    job = dataclasses.replace(figure, params=(ParamChange(name="code", old="'aa'", new="'bb'"),))
    state, [reason] = job_reasons(job, tmp_path)
    assert state == "stale"
    assert reason.startswith("figure code differs (aa -> bb), edited since: ")
    for file in figure.outputs:
        os.utime(tmp_path / file, (4e9, 4e9))
    assert job_reasons(job, tmp_path) == ("stale", ("figure code differs (aa -> bb)",))


@pytest.mark.parametrize(
    ("changes", "state", "reasons"),
    [
        ({"planned": False}, "up to date", ()),
        ({"planned": False, "remembered": False}, "up to date",
         ("not made here by Snakemake: only file times are compared",)),
        ({"incomplete": ("b-x.png",)}, "interrupted", ("stopped while it wrote b-x.png",)),
        ({"missing": ("figures/smoke/b-x.csv",)}, "missing", ("missing: figures/smoke/b-x.csv",)),
        ({"missing": ("figures/smoke/b-x.png", "figures/smoke/b-x.csv")}, "missing", ("not made yet",)),
        ({"newer": ("a", "b", "c", "d", "e")}, "stale", ("newer input: a, b, c and 2 more",)),
        ({"added_inputs": ("a",), "dropped_inputs": ("b",)}, "stale", ("input added: a", "input gone: b")),
        ({"params": (ParamChange(name="scale", old="'cpu'", new="'demo'"),)}, "stale", ("scale: cpu -> demo",)),
        ({"params": (ParamChange(name="names", old=None, new=str(["figure"] * 40)),)}, "stale", ("names differs",)),
        ({"command_changed": True, "before": ("x", "y")}, "stale", ("its command differs", "follows on: x; y")),
        ({"before": tuple("wxyz")}, "stale", ("follows on 4 jobs",)),
    ],
)  # fmt: skip
def test_reasons_of_a_job_in_words(tmp_path, figure, changes, state, reasons):
    assert job_reasons(dataclasses.replace(figure, **changes), tmp_path) == (state, reasons)


@pytest.fixture
def jobs(project, figure) -> list[JobState]:
    """tc is current in three jobs, one of which runs again; et has lost a seed; a figure follows."""
    for seed in (0, 1, 2):
        finish(project, tc(project, seed))
        finish(project, project.run("expert-threshold", "et", seed))
    et = [project.run("expert-threshold", "et", seed) for seed in (0, 1, 2)]
    (project.root / et[2].folder / "run.json").unlink()
    return [
        *(train_job(project, tc(project, seed), planned=False) for seed in (0, 1)),
        dataclasses.replace(train_job(project, tc(project, 2), planned=True), newer=("data/manifest.json",)),
        train_job(project, *et, planned=True),
        dataclasses.replace(figure, before=("train et",), seconds=9.0),
    ]


def test_targets_are_conditions_in_one_state_for_one_reason(project, jobs):
    found = [(target.title, target.state, target.reasons) for target in find_targets(project, jobs)]
    again = "its record is current, but its job runs again"
    missing = f"missing: {project.run('expert-threshold', 'et', 2).folder}/run.json"
    assert found == [
        ("train expert-threshold tc, seeds 0, 1", "up to date", ()),
        ("train expert-threshold tc, seed 2", "stale", (again, "newer input: data/manifest.json")),
        ("train expert-threshold et, seeds 0, 1", "stale", (again, missing)),
        ("train expert-threshold et, seed 2", "missing", ("run.json is missing, other files are there",)),
        ("draw b-x", "stale", ("follows on: train et",)),
    ]


def test_stale_record_that_snakemake_would_keep_says_so(project):
    finish(project, tc(project), training_code="0123456789ab")
    [target] = find_targets(project, [train_job(project, tc(project), planned=False)])
    assert target.state == "stale"
    assert target.reasons[-1].endswith("delete run.json")


def test_imported_runs_are_in_no_job_and_only_their_settings_count(project):
    for seed in (0, 1, 2):
        finish(project, tc(project, seed), imported=True, training_code="0123456789ab", seconds=3.0)
    found = find_targets(project, [], "tc")
    assert [(target.title, target.state, target.reasons) for target in found] == [
        ("import expert-threshold tc, seeds 0, 1, 2", "up to date", ("imported from a bundle",))
    ]
    finish(project, tc(project, 0), imported=True, config_version="of another day")
    assert run_state(project, tc(project)).state == "stale"


@pytest.mark.parametrize(
    ("wanted", "titles"),
    [
        ("et", ["train expert-threshold et, seeds 0, 1", "train expert-threshold et, seed 2"]),
        ("./results/smoke/runs/expert-threshold/et/seed-2/", ["train expert-threshold et, seed 2"]),
        ("results/smoke/runs/expert-threshold/tc/seed-1/cost.json", ["train expert-threshold tc, seed 1"]),
        ("figures_cutoff", ["draw b-x"]),
        ("b-x", ["draw b-x"]),
        ("b-*.csv", ["draw b-x"]),
    ],
)
def test_target_may_be_a_condition_folder_file_rule_or_pattern(project, jobs, wanted, titles):
    assert [target.title for target in find_targets(project, jobs, wanted)] == titles


def test_absolute_path_is_a_target(project, jobs):
    [target] = find_targets(project, jobs, str(project.root / "figures/smoke/b-x.png"))
    assert target.title == "draw b-x"


@pytest.mark.parametrize(
    ("wanted", "hint"), [("figures_cutof", "did you mean figures_cutoff"), ("zzz", "why without TARGET lists all")]
)
def test_unknown_target_is_bad_input_with_close_matches(project, jobs, wanted, hint):
    with pytest.raises(BadInput, match=f"TARGET '{wanted}'.*{hint}"):
        find_targets(project, jobs, wanted)


def row(title: str, state: str, seconds: float | None, source: str, *reasons: str) -> Target:
    return Target(
        rules=("rule",), title=title, state=state, reasons=reasons, files=(),
        cost=Cost(seconds=seconds, source=source),
    )  # fmt: skip


def test_total_counts_what_is_to_be_made():
    rows = [
        row("a", "up to date", 500.0, "measured"), row("b", "stale", 90.0, "measured"),
        row("c", "interrupted", 30.0, "measured"), row("d", "missing", 7200.0, "planned"),
        row("e", "missing", None, "unknown"),
    ]  # fmt: skip
    assert rebuild(rows) == {"targets": 4, "measured_seconds": 120.0, "planned_seconds": 7200.0, "unknown": 1}
    assert total_line(rows) == "To make: 4 of 5 targets, 2.0 min measured, ~2.0 h planned, 1 of unknown cost."
    assert total_line(rows[:1]) == "Nothing to make: 1 of 1 targets are up to date."


def test_durations():
    assert [duration(0.42), duration(90), duration(7200, planned=True), duration(None)] == [
        "0.4 s", "1.5 min", "~2.0 h", "?",
    ]  # fmt: skip


def test_table_fits_120_columns_and_loses_nothing(project, jobs):
    found = [*find_targets(project, jobs), row("x" * 150, "stale", 1.0, "measured", "y" * 300)]
    text = StringIO()
    Console(file=text, width=120).print(why_text("smoke", found))
    assert max(map(len, text.getvalue().splitlines())) <= 120
    assert text.getvalue().count("x") >= 150
    assert text.getvalue().count("y") >= 300


def test_json_has_every_target_and_the_total(project, jobs):
    found = why_json("smoke", find_targets(project, jobs, "tc"))
    assert [(target["title"], target["state"], target["cost_seconds"]) for target in found["targets"]] == [
        ("train expert-threshold tc, seeds 0, 1", "up to date", 4.0),
        ("train expert-threshold tc, seed 2", "stale", 2.0),
    ]
    assert found["targets"][0]["rules"] == ["train_tc_0", "train_tc_1"]
    assert found["rebuild"] == {"targets": 1, "measured_seconds": 2.0, "planned_seconds": 0, "unknown": 0}
