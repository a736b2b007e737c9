"""A scorecard that is older, of another scale or no scorecard is named, not shown in part."""

from __future__ import annotations

import pytest

from made_scorecards import mixed_card
from moe_replication.errors import BadInput
from moe_replication.files import write_json
from moe_replication.report.card import read_card


@pytest.fixture
def read(tmp_path):
    """read(card): what the pages get of a scorecard in results/smoke."""

    def write_and_read(card: dict) -> dict:
        write_json(tmp_path / "smoke/scorecard.json", card)
        return read_card(tmp_path / "smoke")

    return write_and_read


def test_a_whole_scorecard_is_read_as_it_stands(read):
    assert read(mixed_card()) == mixed_card()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card.pop("claims_edited"), "the scorecard lacks claims_edited"),
        (lambda card: card["claims"][1].pop("evidence"), r"claims\[1\] lacks evidence"),
        (lambda card: card["totals"].pop("not_run"), "totals lacks not_run"),
        (lambda card: card["sections"][0].pop("totals"), r"sections\[0\] lacks totals"),
        (lambda card: card["sections"][0]["totals"].pop("not_run"), r"sections\[0\]\.totals lacks not_run"),
        (lambda card: card.update(claims={}), "claims must be a list"),
        (lambda card: card["claims"].append("a-x"), r"claims\[6\] lacks id"),
        (lambda card: card["claims_edited"].append({"id": "a-x"}), r"claims_edited\[0\] lacks paper, change, runs"),
        (
            lambda card: card["claims"][0].update(verdict="maybe"),
            r"claims\[0\]\.verdict = 'maybe' must be one of repro",
        ),
        (lambda card: card["claims"][0].update(kind="mine"), r"claims\[0\]\.kind = 'mine' must be one of same claim"),
        (lambda card: card.update(scale="demo"), "scale = 'demo' must be smoke"),
    ],
)
def test_what_is_missing_or_foreign_is_named_with_the_remedy(read, change, message):
    card = mixed_card()
    change(card)
    with pytest.raises(BadInput, match=rf"scorecard\.json: {message}.*; judge again: moe-replication claims"):
        read(card)
