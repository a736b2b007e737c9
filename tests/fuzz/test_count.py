"""The suites try as many distinct cases as docs/security.md promises."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PROMISED = 200
# The fastest two; the table in docs/security.md has all.
COUNTED = ("test_checkpoints", "test_kept_plans")


@pytest.mark.slow
def test_at_least_200_distinct_cases():
    """In one process: workers that share a session out would each know a part."""
    files = [str(HERE / f"{name}.py") for name in COUNTED]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:]
    found = {suite: int(count) for suite, count in re.findall(r"fuzz (\w+): (\d+) distinct cases", result.stdout)}
    assert sorted(found) == sorted(COUNTED)
    assert sum(found.values()) >= PROMISED, found


def test_the_table_of_suites_lists_every_suite():
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    listed = {
        name: int(count.replace(",", "")) for name, count in re.findall(r"\| `(test_\w+)` \|.*\| ([\d,]+) \|", text)
    }
    suites = {path.stem for path in HERE.glob("test_*.py")} - {"test_count", "test_storage"}
    assert set(listed) == suites
    assert sum(listed.values()) >= PROMISED
