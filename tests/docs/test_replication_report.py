"""The replication report quotes the committed scorecard, not memory."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import pytest

from moe_replication.config import load_project
from moe_replication.files import read_json
from moe_replication.report.scorecard_words import ours, papers
from moe_replication.report.verdicts import verdict_words

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/replication-report.md").read_text(encoding="utf-8")
CLAIMS = {claim["id"]: claim for claim in read_json(ROOT / "reference/cpu/scorecard.json")["claims"]}
# A row of the report's tables: | `claim` | what it says | ours | paper's | verdict | n |
ROWS = re.findall(r"^\| `([ab]-[^`]+)` \|[^|]*\|([^|]*)\|([^|]*)\|([^|]*)\|([^|]*)\|$", TEXT, re.M)


def test_rows_of_both_papers_are_found():
    assert {name[0] for name, *_ in ROWS} == {"a", "b"}
    assert len(ROWS) > 15


def test_number_of_runs_is_that_of_the_bundle_and_of_the_scale():
    with tarfile.open(ROOT / "reference/cpu/runs.tar.gz") as bundle:
        present = sum(name.endswith("/run.json") for name in bundle.getnames())
    planned = len(load_project(ROOT, {"scale": "cpu"}).runs)
    assert f"{present} of {planned} runs" in TEXT
    assert f"The other {planned - present} runs" in TEXT


@pytest.mark.parametrize(("name", "found", "reported", "verdict", "n"), ROWS, ids=[name for name, *_ in ROWS])
def test_a_row_says_what_the_scorecard_says(name, found, reported, verdict, n):
    claim = CLAIMS[name]
    assert int(n) == claim["n"]
    assert (found.strip(), reported.strip()) == (ours(claim), papers(claim))
    assert verdict.strip() == verdict_words(claim["verdict"])
