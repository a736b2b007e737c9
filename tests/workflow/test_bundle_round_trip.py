"""From a finished project through a bundle: nothing trains again, and the report comes back without torch."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from moe_replication.files import read_json
from scratch_project import ROOT, SMALL, Scratch, make_scratch

pytestmark = pytest.mark.slow

CHOSEN = ("--set", "conditions=[tc,v1]", "--set", "seeds=[0,1]")
MAKES_RUNS = ("train", "probe", "scan", "corpus", "tokens", "images", "domains")
RECORD = Path("results/smoke/runs/expert-threshold/tc/seed-1/run.json")


@pytest.fixture(scope="module")
def bundle(finished: Scratch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished project's runs in one file."""
    path = tmp_path_factory.mktemp("bundle") / "small.tar.gz"
    finished.run("moe-replication", "export", "--scale", "smoke", "--out", str(path), *CHOSEN)
    return path


def makes_runs(planned: dict[str, int]) -> set[str]:
    """Planned rules that train, probe or prepare data; `probe_...` of all runs together is `collect_probes`."""
    return {rule for rule in planned if rule.startswith(MAKES_RUNS)}


def touched(root: Path, *parts: str) -> None:
    later = time.time() + 5
    for path in (path for part in parts for path in (root / part).rglob("*")):
        os.utime(path, (later, later))


@pytest.mark.parametrize("job", ["paper", "condition"])
def test_imported_runs_are_neither_trained_nor_probed(bundle, tmp_path, job):
    here = make_scratch(tmp_path, job=job)
    here.edit("src/moe_replication/routing/capacity.py", "capacity == 0", "capacity <= 0")
    said = here.run("moe-replication", "import", str(bundle), *CHOSEN).stdout
    assert said.count("trained by other code than this one's") == 2
    touched(here.root, "config", "workflow", "src")
    planned = here.planned()
    assert makes_runs(planned) == set()
    assert {"collect", "collect_probes", "compare", "claims"} <= set(planned)
    more = here.planned(config=(*SMALL[:2], "seeds=[0,1,2]", SMALL[3]))
    trained = {rule for rule in more if rule.startswith("train_")}
    assert trained == {"train_expert_threshold_tc_seed_2", "train_expert_ecology_v1_seed_2"}


def test_deleted_imported_record_trains_that_run_alone(bundle, tmp_path):
    here = make_scratch(tmp_path)
    here.run("moe-replication", "import", str(bundle), *CHOSEN)
    (here.root / RECORD).unlink()
    planned = makes_runs(here.planned())
    assert planned == {
        "corpus", "domains", "tokens", "train_expert_threshold_tc_seed_1", "probe_expert_threshold_tc_seed_1",
    }  # fmt: skip


def test_import_over_a_different_record_takes_its_place(project, bundle):
    record = read_json(project.root / RECORD)
    text = (project.root / RECORD).read_text(encoding="utf-8")
    (project.root / RECORD).write_text(text.replace(record["config_version"], "0" * 16), encoding="utf-8")
    refused = project.run("moe-replication", "import", str(bundle), *CHOSEN, check=False)
    assert refused.returncode == 2
    assert "1 records are there already and differ: expert-threshold/tc/seed-1" in refused.stderr
    project.run("moe-replication", "import", str(bundle), "--replace", *CHOSEN)
    planned = project.planned()
    # The other seed was trained here; its probe job has lost a member, which the workflow takes for a change.
    assert makes_runs(planned) == {"probe_expert_threshold_tc_seed_0"}
    assert "collect" in planned
    assert read_json(project.root / RECORD) == record | {"imported": True}


def test_report_from_a_bundle_needs_no_torch_and_gives_equal_numbers(finished, bundle, tmp_path):
    fresh = tmp_path / "fresh"
    hidden = ROOT / "tests/without_training"
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{hidden}{os.pathsep}{finished.root / 'src'}",
        "OMP_NUM_THREADS": "1",
    }

    def call(folder: Path, *command: str) -> None:
        result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]

    snakemake = ("snakemake", "--workflow-profile", "workflow/profiles/default", "--cores", "2")
    call(finished.root, "moe-replication", "import", str(bundle), "--into", str(fresh))
    call(fresh, *snakemake)
    assert (fresh / "results/smoke/pages/checklist.html").exists()
    call(fresh, *snakemake, "--report", "report.html")
    assert (fresh / "report.html").stat().st_size > 100_000
    assert not (fresh / "data/tokens").exists()
    theirs, ours = (pl.read_parquet(root / "results/smoke/runs.parquet") for root in (finished.root, fresh))
    assert ours["imported"].all()
    assert_frame_equal(ours.drop("imported"), theirs.drop("imported"))
    cards = (read_json(root / "results/smoke/scorecard.json") for root in (finished.root, fresh))
    assert next(cards) == next(cards)
    tables = {path.name: path.read_bytes() for path in (finished.root / "figures/smoke").glob("*.csv")}
    assert len(tables) > 20
    assert {path.name: path.read_bytes() for path in (fresh / "figures/smoke").glob("*.csv")} == tables
