"""Scratch projects: a copy of the repository's workflow, settings and code that a test may spoil."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

from moe_replication.files import read_json
from moe_replication.statistics.collect import COST

ROOT = Path(__file__).parents[1]
PARTS = ("Snakefile", "workflow", "config", "docs", "src", "requirements.lock")
CLOCK = ("wall_seconds", "tokens_per_second", *COST)  # what differs between two trainings of one run
# Two conditions, one of each paper, with two seeds.
SMALL = ("scale=smoke", "conditions=[tc,v1]", "seeds=[0,1]", "tracking={enabled: false}")


@dataclass(frozen=True)
class Scratch:
    """A project folder and how to run things in it."""

    root: Path

    def run(self, *command: str, check: bool = True, **options) -> subprocess.CompletedProcess:
        """Run a command in the project, with its own copy of the package."""
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.root / "src"),
            "OMP_NUM_THREADS": "1",
        }
        result = subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True, check=False, **options
        )
        if check:
            assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
        return result

    def snakemake(self, *arguments: str, config: tuple[str, ...] = SMALL, check: bool = True):
        """Run the workflow on two cores."""
        profile = ("--workflow-profile", "workflow/profiles/default")
        return self.run("snakemake", *profile, "--cores", "2", *arguments, "--config", *config, check=check)

    def planned(self, *arguments: str, config: tuple[str, ...] = SMALL) -> dict[str, int]:
        """Jobs that a dry run would do: rule -> count, without `all` and `total`."""
        text = self.snakemake("--dry-run", *arguments, config=config).stdout
        table = re.search(r"^job +count\n-.*\n((?:\w+ +\d+\n)+)", text, re.MULTILINE)
        if table is None:
            assert "Nothing to be done" in text, text
            return {}
        rows = (line.split() for line in table[1].splitlines())
        return {rule: int(count) for rule, count in rows if rule not in ("all", "total")}

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace text that occurs in a file."""
        file = self.root / path
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new, 1), encoding="utf-8")


def copied(source: Path, root: Path) -> Scratch:
    """The code and settings of a project without any result."""
    for part in PARTS:
        if (source / part).is_dir():
            shutil.copytree(source / part, root / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            root.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / part, root / part)
    return Scratch(root)


def make_scratch(root: Path, job: str = "condition") -> Scratch:
    """Copy what a project consists of; its smoke scale has jobs of this size, a condition's as at larger scales."""
    scratch = copied(ROOT, root)
    scratch.edit("config/scales/smoke.yaml", "job: paper", f"job: {job}")
    return scratch


def assert_same_results(undisturbed: Path, other: Path) -> None:
    """Tables, verdicts and the numbers behind the figures of two projects are equal, clock times apart."""
    tables = sorted(path.name for path in (undisturbed / "results/smoke").glob("*.parquet"))
    assert {"runs.parquet", "curves.parquet", "experts.parquet", "summary.parquet"} <= set(tables)
    roots = (undisturbed, other)
    for name in tables:
        one, two = (pl.read_parquet(root / "results/smoke" / name).drop(CLOCK, strict=False) for root in roots)
        assert_frame_equal(two, one, check_exact=True)
    one, two = (read_json(root / "results/smoke/scorecard.json") for root in roots)
    assert two == one
    one, two = ({path.name: path.read_bytes() for path in (root / "figures/smoke").glob("*.csv")} for root in roots)
    assert len(one) > 20
    assert two == one
