"""Only what a change touches runs again: dry runs on a finished scratch project."""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest

from moe_replication.config import load_project
from scratch_project import ROOT, SMALL

pytestmark = pytest.mark.slow

# What follows on a run of tc: its probes, every table, every figure.
AFTER_TRAINING = {
    "collect": 1, "compare": 1, "claims": 1, "probe_expert_threshold_tc_seed_0_1": 1, "collect_probes": 1, "pages": 1,
    **{f"figures_{figure.module}": 1 for figure in load_project(ROOT).figures.values()},
}  # fmt: skip


def trained(planned: dict[str, int]) -> set[str]:
    return {rule for rule in planned if rule.startswith("train_")}


def test_finished_project_has_nothing_to_do(project):
    assert project.planned() == {}


def test_touched_figure_module_and_caption_run_nothing(project):
    for path in ("src/moe_replication/figures/loss.py", "workflow/report/a-fig06-pool-size.rst"):
        os.utime(project.root / path, (time.time() + 5, time.time() + 5))
    assert project.planned() == {}


def test_edited_figure_module_draws_its_figures_and_trains_nothing(project):
    first_line = "from __future__ import annotations\n"
    project.edit("src/moe_replication/figures/cutoff.py", first_line, first_line + "SPOILED = 1\n")
    assert project.planned() == {"figures_cutoff": 1, "pages": 1}


def test_edited_probe_probes_again_and_trains_nothing(project):
    first_line = "from __future__ import annotations\n"
    project.edit("src/moe_replication/evaluation/documents.py", first_line, first_line + "SPOILED = 1\n")
    planned = project.planned()
    assert trained(planned) == set()
    assert {"probe_expert_threshold_tc_seed_0_1", "collect_probes", "claims", "figures_fanout"} <= set(planned)
    assert "collect" not in planned


def test_edited_caption_trains_nothing(project):
    caption = project.root / "workflow/report/a-fig06-pool-size.rst"
    caption.write_text("Another caption.", encoding="utf-8")
    assert trained(project.planned()) == set()


def test_changed_condition_trains_its_seeds_and_what_follows(project):
    project.edit("config/papers/expert-threshold.yaml", "set: {routing: {rule: token_choice}}",
                 "set: {routing: {rule: token_choice, top_k: 2}}")  # fmt: skip
    output = project.snakemake("--dry-run").stdout
    assert "train expert-threshold tc, seeds 0, 1" in output
    assert project.planned() == {"train_expert_threshold_tc_seed_0_1": 1} | AFTER_TRAINING


def test_comment_in_the_training_code_trains_nothing(project):
    first_line = "from __future__ import annotations\n"
    project.edit("src/moe_replication/training/loop.py", first_line, "# A reason.\n" + first_line)
    assert project.planned() == {}


def test_changed_training_code_trains_everything(project):
    project.edit("src/moe_replication/routing/capacity.py", "capacity == 0", "capacity <= 0")
    assert trained(project.planned()) == {"train_expert_threshold_tc_seed_0_1", "train_expert_ecology_v1_seed_0_1"}


def test_deleted_record_trains_one_run(project):
    (project.root / "results/smoke/runs/expert-threshold/tc/seed-1/run.json").unlink()
    output = project.snakemake("--dry-run").stdout
    assert "train expert-threshold tc, seed 1\n" in output
    assert project.planned() == {"train_expert_threshold_tc_seed_1": 1} | AFTER_TRAINING


def test_deleted_curve_trains_one_run(project):
    (project.root / "results/smoke/runs/expert-ecology/v1/seed-0/curve.parquet").unlink()
    assert trained(project.planned()) == {"train_expert_ecology_v1_seed_0"}


def test_added_seed_trains_only_that_seed(project):
    config = (SMALL[0], SMALL[1], "seeds=[0,1,2]", SMALL[3])
    output = project.snakemake("--dry-run", config=config).stdout
    assert "train expert-threshold tc, seed 2\n" in output
    assert trained(project.planned(config=config)) == {
        "train_expert_threshold_tc_seed_2",
        "train_expert_ecology_v1_seed_2",
    }


def test_another_tracking_server_or_data_root_of_other_sets_trains_nothing(project, tmp_path):
    roots = f"data={{roots: {{cifar100: {tmp_path}, wikitext-2: {tmp_path}}}}}"
    assert project.planned(config=(*SMALL, roots)) == {}
    assert trained(project.planned(config=(*SMALL[:3], "tracking={uri: http://127.0.0.1:1}"))) == set()


def test_new_data_trains_current_runs_and_the_missing_one(project):
    (project.root / "results/smoke/runs/expert-ecology/v1/seed-1/run.json").unlink()
    manifest = project.root / "data/images/digits-10/manifest.json"
    manifest.write_text(manifest.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    os.utime(manifest, (time.time() + 5, time.time() + 5))
    planned = trained(project.planned())
    assert planned == {"train_expert_ecology_v1_seed_0", "train_expert_ecology_v1_seed_1"}


def test_deleted_record_comes_back_bit_for_bit_and_then_nothing_is_left(project):
    record = project.root / "results/smoke/runs/expert-ecology/v1/seed-1/run.json"
    before = record.read_bytes()
    other = (project.root / "results/smoke/runs/expert-ecology/v1/seed-0/run.json").stat().st_mtime_ns
    record.unlink()
    # Or it would come back from beside its weights without a step.
    shutil.rmtree(project.root / "results/smoke/checkpoints" / json.loads(before)["run"]["run_key"] / "record")
    project.snakemake()
    assert record.read_bytes() == before
    assert (project.root / "results/smoke/runs/expert-ecology/v1/seed-0/run.json").stat().st_mtime_ns == other
    assert project.planned() == {}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("scale=gigantic", "config/scales/gigantic.yaml: no such file; choose one of"),
        ("conditions=[tcc]", "unknown condition in conditions: 'tcc'; did you mean tc?"),
        ("sede=[0]", "unknown key sede"),
    ],
)
def test_wrong_setting_stops_the_workflow_before_any_job(project, config, message):
    result = project.snakemake(config=(*SMALL, config), check=False)
    assert result.returncode != 0
    assert message in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
