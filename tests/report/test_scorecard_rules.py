from __future__ import annotations

from made_scorecards import entry
from moe_replication.report.scorecard_words import RULES, certainty, change


def test_every_number_of_certainty_that_is_no_plain_n_or_p_is_explained():
    names = set(certainty(entry("a-x"))) - {"n", "p", "p corrected"}
    assert names == {"p over the paper", "power", "80 % power from", "n for the paper's difference", "n needed"}
    assert all(name in " ".join(RULES) for name in names - {"power"})
    assert any(rule.startswith("Power is the chance") for rule in RULES)


def test_runs_that_knew_another_text_and_those_that_knew_none_are_told_apart():
    edit = {"id": "c", "paper": "p", "change": "added and changed", "runs": 1, "without": 3, "of": 5}
    assert change(edit) == (
        "added and changed: 1 of 5 runs were trained when it said something else, 3 before it was there"
    )
