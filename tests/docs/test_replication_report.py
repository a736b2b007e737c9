"""The replication report quotes the committed scorecard, not memory."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from moe_replication.files import read_json
from moe_replication.report.scorecard_words import ours, papers
from moe_replication.report.verdicts import verdict_words

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/replication-report.md").read_text(encoding="utf-8")
CLAIMS = {claim["id"]: claim for claim in read_json(ROOT / "reference/cpu/scorecard.json")["claims"]}
# A row of the report's tables: | `claim` | what it says | ours | paper's | verdict | ...
ROWS = re.findall(r"^\| `([ab]-[^`]+)` \|[^|]*\|([^|]*)\|([^|]*)\|([^|]*)\|", TEXT, re.M)


def test_rows_of_both_papers_are_found():
    assert {name[0] for name, *_ in ROWS} == {"a", "b"}
    assert len(ROWS) > 15


@pytest.mark.parametrize(("name", "found", "reported", "verdict"), ROWS, ids=[name for name, *_ in ROWS])
def test_a_row_says_what_the_scorecard_says(name, found, reported, verdict):
    claim = CLAIMS[name]
    assert (found.strip(), reported.strip()) == (ours(claim), papers(claim))
    assert verdict.strip() == verdict_words(claim["verdict"])
