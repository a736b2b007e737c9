"""A killed run continues and ends with the same record, bit for bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from moe_replication.config.analysis import ANALYSIS_FILE, analysis_digest, analysis_settings
from moe_replication.config.claims import claim_digest
from moe_replication.files import read_json, sha256_file, write_json

pytestmark = pytest.mark.slow
RECORD = ("run.json", "curve.parquet", "experts.parquet", "config.json")
LANGUAGE = "results/smoke/runs/expert-threshold/et/seed-0"
VISION = "results/smoke/runs/expert-ecology/v5-both/seed-0"


class Malicious:
    """Makes a folder when it is unpickled without restriction."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def command(*runs: str) -> list[str]:
    return [sys.executable, "-m", "moe_replication.cli", "train", *runs]


def finish(root: Path, *runs: str) -> None:
    result = subprocess.run(command(*runs), cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]


def start_and_signal(root: Path, run: str, signum: int) -> int:
    """Start a run, send `signum` when its first checkpoint is whole; returns the exit code."""
    process = subprocess.Popen(command(run), cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(root.glob("results/smoke/checkpoints/*/step-*")):
        assert process.poll() is None, "the run ended before its first checkpoint"
        assert time.monotonic() < deadline, "no checkpoint appeared"
        time.sleep(0.01)
    os.kill(process.pid, signum)
    return process.wait()


@pytest.fixture(scope="module")
def undisturbed(project) -> dict[str, dict[str, bytes]]:
    """What each run writes that nothing disturbs; the results are gone afterwards."""
    found = {}
    for run in (LANGUAGE, VISION):
        finish(project, run)
        found[run] = files(project, run)
        shutil.rmtree(project / "results")
    return found


@pytest.fixture(autouse=True)
def no_results_left(project) -> Iterator[None]:
    """The next test trains from the start, whatever became of this one."""
    yield
    shutil.rmtree(project / "results", ignore_errors=True)


def files(root: Path, run: str) -> dict[str, bytes]:
    found = {name: (root / run / name).read_bytes() for name in RECORD}
    key = json.loads(found["run.json"])["run"]["run_key"]
    for snapshot in root.glob(f"results/smoke/checkpoints/{key}/snapshots/*.pt"):
        model = torch.load(snapshot, weights_only=True)["model"]
        found[snapshot.name] = b"".join(weight.numpy().tobytes() for weight in model.values())
    return found


def attempts(root: Path, run: str) -> dict[str, int]:
    cost = json.loads((root / run / "cost.json").read_text(encoding="utf-8"))
    return {name: cost[name] for name in ("starts", "restarts", "killed", "stopped", "failed")}


@pytest.mark.parametrize("run", [LANGUAGE, VISION])
def test_killed_run_ends_with_the_same_record(project, undisturbed, run):
    assert start_and_signal(project, run, signal.SIGKILL) == -signal.SIGKILL
    assert not (project / run / "run.json").exists()
    finish(project, run)
    assert "resumes after step" in (project / run / "log.txt").read_text(encoding="utf-8")
    assert attempts(project, run) == {"starts": 2, "restarts": 1, "killed": 1, "stopped": 0, "failed": 0}
    assert files(project, run) == undisturbed[run]


def test_what_is_edited_before_a_run_resumes_stays_as_it_was_registered(project, undisturbed):
    claims, definitions = project / "config/claims/expert-threshold.yaml", project / ANALYSIS_FILE
    text, defined = claims.read_text(encoding="utf-8"), definitions.read_text(encoding="utf-8")
    known = {claim["id"]: claim_digest(claim) for claim in yaml.safe_load(text)}
    known[ANALYSIS_FILE] = analysis_digest(analysis_settings(project))
    assert start_and_signal(project, LANGUAGE, signal.SIGTERM) == 75
    claims.write_text(text.replace("Expert Threshold", "Threshold of experts"), encoding="utf-8")
    definitions.write_text(
        defined.replace("starved_share: {value: 0.16", "starved_share: {value: 0.2"), encoding="utf-8"
    )
    assert analysis_digest(analysis_settings(project)) != known[ANALYSIS_FILE]
    assert known != {claim["id"]: claim_digest(claim) for claim in yaml.safe_load(claims.read_text(encoding="utf-8"))}
    finish(project, LANGUAGE)
    claims.write_text(text, encoding="utf-8")
    definitions.write_text(defined, encoding="utf-8")
    assert json.loads((project / LANGUAGE / "environment.json").read_text(encoding="utf-8"))["claims"] == known
    assert files(project, LANGUAGE) == undisturbed[LANGUAGE]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1])
def test_signal_writes_a_checkpoint_and_asks_to_be_queued_again(project, undisturbed, signum):
    assert start_and_signal(project, LANGUAGE, signum) == 75
    assert "checkpoint written" in (project / LANGUAGE / "log.txt").read_text(encoding="utf-8")
    finish(project, LANGUAGE)
    assert attempts(project, LANGUAGE) == {"starts": 2, "restarts": 1, "killed": 0, "stopped": 1, "failed": 0}
    assert files(project, LANGUAGE) == undisturbed[LANGUAGE]


def test_damaged_checkpoint_falls_back_to_the_one_before(project, undisturbed):
    start_and_signal(project, LANGUAGE, signal.SIGTERM)
    newest = max(project.glob("results/smoke/checkpoints/*/step-*"))
    state = next(newest.glob("*optim_states.pt"))
    state.write_bytes(state.read_bytes()[:-100])
    result = subprocess.run(command(LANGUAGE), cwd=project, capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert "does not match its hash; falling back" in result.stderr
    assert files(project, LANGUAGE) == undisturbed[LANGUAGE]


def test_code_in_a_checkpoint_is_refused_and_does_not_run(project):
    """The manifest of somebody who can write here has the right hashes."""
    start_and_signal(project, LANGUAGE, signal.SIGTERM)
    newest, mark = max(project.glob("results/smoke/checkpoints/*/step-*")), project / "mark"
    state = next(newest.glob("*optim_states.pt"))
    torch.save(Malicious(mark), state)
    manifest = read_json(newest / "manifest.json")
    manifest["sha256"][state.name] = sha256_file(state)
    write_json(newest / "manifest.json", manifest)
    result = subprocess.run(command(LANGUAGE), cwd=project, capture_output=True, text=True, check=False)
    assert result.returncode == 2, result.stderr[-2000:]
    assert f"{newest.name}: holds code or foreign objects, which are not loaded" in result.stderr
    assert not mark.exists()


def test_finished_run_whose_files_were_removed_has_them_back_untrained(project, undisturbed):
    finish(project, LANGUAGE)
    assert files(project, LANGUAGE) == undisturbed[LANGUAGE]
    log = (project / LANGUAGE / "log.txt").read_text(encoding="utf-8")
    for name in RECORD:
        (project / LANGUAGE / name).unlink()
    finish(project, LANGUAGE)
    assert files(project, LANGUAGE) == undisturbed[LANGUAGE]
    assert (project / LANGUAGE / "log.txt").read_text(encoding="utf-8") == log


def test_seeds_trained_together_and_alone_give_the_same_records(project):
    second = LANGUAGE.replace("seed-0", "seed-1")
    finish(project, LANGUAGE, second)
    together = files(project, second)
    assert together["run.json"] != files(project, LANGUAGE)["run.json"]
    shutil.rmtree(project / "results")
    finish(project, second)
    assert files(project, second) == together
