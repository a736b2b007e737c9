"""What the README tells a newcomer to type works as written."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from moe_replication.config import load_project

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "config/README.md")
TEXT = {name: (ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS}
LINES = [line for text in TEXT.values() for line in re.findall(r"^    (make .*)$", text, re.M)]
COMMANDS = sorted({line.split("#")[0].strip() for line in LINES})


def recipe(command: str) -> str:
    """The snakemake line that a make command would run."""
    make = subprocess.run([*shlex.split(command), "-n"], cwd=ROOT, capture_output=True, text=True, check=True)
    return next(line for line in make.stdout.splitlines() if "snakemake" in line and "--config" in line)


@pytest.mark.parametrize("command", [c for c in COMMANDS if "CONFIG=" in c])
def test_overrides_in_the_documents_are_accepted(command, tmp_path):
    words = shlex.split(recipe(command))
    settings = words[words.index("--config") + 1 : words.index("--cores")]
    overrides = {key: yaml.safe_load(value) for key, value in (setting.split("=", 1) for setting in settings)}
    for name in overrides.get("data", {}).get("roots", {}):
        overrides["data"]["roots"][name] = str(tmp_path)
    assert load_project(ROOT, overrides).runs


@pytest.mark.parametrize("command", COMMANDS)
def test_every_make_target_in_the_documents_exists(command):
    target = shlex.split(command)[1]
    help_text = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert target == "help" or re.search(rf"^  make {target} ", help_text, re.M)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name):
    for link in re.findall(r"\]\(([^)#]+)", TEXT[name]):
        if not link.startswith("http"):
            assert (ROOT / name).parent.joinpath(link).exists(), link


def test_no_blank_is_left_in_the_readme():
    assert "@@" not in TEXT["README.md"]
