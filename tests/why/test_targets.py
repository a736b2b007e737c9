"""`why`: jobs and runs become targets, which have names."""

from __future__ import annotations

import pytest

from moe_replication.errors import BadInput
from moe_replication.why.run_states import run_state
from moe_replication.why.targets import find_targets
from why_records import finish, tc, train_job


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
