"""The command line: help with examples, one line and exit code 2 for bad input."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMANDS = (
    "prepare corpus",
    "prepare tokens",
    "prepare images",
    "prepare domains",
    "train",
    "scan",
    "core",
    "generate",
    "collect",
    "compare",
    "claims",
    "pages",
    "gpus",
    "clean-checkpoints",
    "figure",
    "track",
    "ui",
    "plan",
    "why",
    "export",
    "import",
)


def call(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "moe_replication.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_gives_an_example(command):
    result = call(*command.split(), "--help")
    assert result.returncode == 0
    # Lines are broken at hyphens, too.
    assert f"Example:moe-replication{command}".replace(" ", "") in "".join(result.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "results/demo/runs/expert-threshold/ett/seed-0"), "did you mean et?"),
        (("train", "somewhere"), "expected results/SCALE/runs/PAPER/CONDITION/seed-N"),
        (("train", "results/smoke/runs/expert-threshold/et/seed-0", "--expect", "0"), "config/ changed while"),
        (("collect", "--scale", "huge"), "choose one of cifar, cpu, demo, gpu, paper, smoke"),
        (("figure", "a-fig99", "--scale", "smoke"), "no such figure"),
        (("prepare", "tokens", "nonsense"), "expected SET-VOCABULARY"),
        (("prepare", "images", "mnist"), "is no image set"),
        (("compare", "--set", "nonsense"), "expected key=value"),
        (("plan", "--diff", "paper", "relesed"), "known: paper, released"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message):
    result = call(*arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
