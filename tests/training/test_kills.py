"""Runs killed at many moments, in the middle of writing a checkpoint too, end with the record of an undisturbed run.

MOE_KILLS sets how many kills there are over all runs; the issue's count is 50.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
# A moving cut-off, a loss-free bias, and the census of paper B with dropout and augmentation.
RUNS = (
    "results/smoke/runs/expert-threshold/et/seed-0",
    "results/smoke/runs/expert-threshold/tc-loss-free/seed-0",
    "results/smoke/runs/expert-ecology/v5-both/seed-0",
)
KILLS = int(os.environ.get("MOE_KILLS", "9"))


@pytest.mark.parametrize("number", range(len(RUNS)))
def test_killed_runs_end_with_the_record_of_an_undisturbed_one(project, number):
    wanted = -(-KILLS // len(RUNS))
    driver = Path(__file__).with_name("kill_driver.py")
    command = [sys.executable, str(driver), RUNS[number], str(wanted), str(number)]
    result = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    log = project / "kill_driver.log"
    assert result.returncode == 0, result.stderr[-2000:] + log.read_text(encoding="utf-8")[-4000:]
    summary = json.loads(result.stdout.splitlines()[-1])
    print(json.dumps(summary, indent=1))
    assert sum(summary["kills"].values()) >= wanted
    assert summary["finished"] >= 1
