"""`why` says what a dry run says, and why, on a finished scratch project and on a fresh one."""

from __future__ import annotations

import json
import shutil

import pytest

from moe_replication.files import read_json, write_json
from scratch_project import SMALL, Scratch, make_scratch

pytestmark = pytest.mark.slow

TC = "train expert-threshold tc, seed"
FIRST_LINE = "from __future__ import annotations\n"
RUNS = "results/smoke/runs/expert-threshold/tc"


def call(project: Scratch, *arguments: str, check: bool = True):
    settings = [word for setting in SMALL for word in ("--set", setting)]
    return project.run("moe-replication", "why", *arguments, *settings, check=check)


def why(project: Scratch, *arguments: str) -> dict[str, dict]:
    """Title -> target, and that the targets to be made are the jobs of a dry run."""
    found = json.loads(call(project, *arguments, "--format", "json").stdout)["targets"]
    if not arguments:
        rules = {rule for target in found if target["state"] != "up to date" for rule in target["rules"]}
        assert rules == set(project.planned())
    return {target["title"]: target for target in found}


def test_fresh_project_lacks_everything_and_the_planner_says_what_runs_cost(tmp_path):
    found = why(make_scratch(tmp_path))
    assert {target["state"] for target in found.values()} == {"missing"}
    assert found[f"{TC}s 0, 1"]["reasons"] == ["never trained"]
    assert found[f"{TC}s 0, 1"]["cost_source"] == "planned"
    assert found[f"{TC}s 0, 1"]["cost_seconds"] > 0


def test_finished_project_is_up_to_date(project):
    found = why(project)
    assert {target["state"] for target in found.values()} == {"up to date"}
    assert {target["cost_source"] for target in found.values()} == {"measured"}
    assert "Nothing to make" in call(project).stdout


def test_changed_setting_is_named_with_old_and_new_value(project):
    project.edit("config/papers/expert-threshold.yaml", "set: {routing: {rule: token_choice}}",
                 "set: {routing: {rule: token_choice, top_k: 2}}")  # fmt: skip
    found = why(project)
    assert found[f"{TC}s 0, 1"]["reasons"] == ["routing.top_k: 1 -> 2"]
    assert found["train expert-ecology v1, seeds 0, 1"]["state"] == "up to date"
    assert f"follows on: {TC}s 0, 1" in found["collect the run records"]["reasons"]


def test_deleted_record_is_missing_and_the_other_seed_is_not(project):
    (project.root / RUNS / "seed-1/run.json").unlink()
    found = why(project)
    assert found[f"{TC} 1"]["reasons"] == ["run.json is missing, other files are there"]
    assert found[f"{TC} 0"]["state"] == "up to date"


def test_edited_figure_module_names_its_code(project):
    project.edit("src/moe_replication/figures/cutoff.py", FIRST_LINE, FIRST_LINE + "SPOILED = 1\n")
    found = [target for target in why(project).values() if target["state"] != "up to date"]
    assert sorted(target["rules"] for target in found) == [["figures_cutoff"], ["pages"]]
    [stale] = [target for target in found if target["rules"] == ["figures_cutoff"]]
    [reason] = stale["reasons"]
    assert reason.startswith("figure code differs (")
    assert reason.endswith("edited since: figures/cutoff.py")


def test_edited_training_code_and_probe_are_named(project):
    project.edit("src/moe_replication/routing/capacity.py", "capacity == 0", "capacity <= 0")
    project.edit("src/moe_replication/evaluation/documents.py", FIRST_LINE, FIRST_LINE + "SPOILED = 1\n")
    found = why(project)
    [reason] = found[f"{TC}s 0, 1"]["reasons"]
    assert reason.endswith("edited since: routing/capacity.py")
    reasons = found["probe expert-threshold tc, seeds 0, 1"]["reasons"]
    assert reasons[0].endswith("edited since: evaluation/documents.py")
    assert reasons[1] == f"follows on: {TC}s 0, 1"


def test_interrupted_run_goes_on_from_its_checkpoint(project):
    record = project.root / RUNS / "seed-0/run.json"
    key = read_json(record)["run"]["run_key"]
    record.unlink()
    checkpoint = project.root / "results/smoke/checkpoints" / key / "step-00000005"
    write_json(checkpoint / "manifest.json", {"run_key": key, "step": 5})
    target = why(project)[f"{TC} 0"]
    assert target["state"] == "interrupted"
    assert "checkpoint after step 5" in target["reasons"][0]


def test_interrupted_job_names_the_file(project):
    from base64 import urlsafe_b64encode

    file = "figures/smoke/a-fig03-cutoff-usage.png"
    (project.root / ".snakemake/incomplete" / urlsafe_b64encode(file.encode()).decode()).touch()
    target = why(project)["draw a-fig03-cutoff-usage"]
    assert target["state"] == "interrupted"
    assert target["reasons"] == [f"stopped while it wrote {file}"]


def test_records_that_snakemake_does_not_remember_are_still_compared(project):
    shutil.rmtree(project.root / ".snakemake/metadata")
    project.edit("src/moe_replication/routing/capacity.py", "capacity == 0", "capacity <= 0")
    assert project.planned() == {}
    target = why(project, "tc")[f"{TC}s 0, 1"]
    assert target["state"] == "stale"
    assert target["reasons"][-1].endswith("keeps it: delete run.json")


def test_unknown_target_is_one_line_with_close_matches(project):
    result = call(project, "expert-treshold", check=False)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "TARGET 'expert-treshold'" in result.stderr


def test_why_changes_nothing_in_the_project(project):
    def files() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in project.root.rglob("*") if path.is_file()}

    before = files()
    call(project)
    changed = {name for name, _ in files().items() ^ before.items() if "__pycache__" not in name}
    assert changed == set()
