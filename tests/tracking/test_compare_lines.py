"""`compare A B` names the claims on that pair and the pages that compare their conditions."""

from __future__ import annotations

from moe_replication.cli.compare_runs import claim_lines
from moe_replication.files import write_json


def _claim(name: str, *conditions: str, against: tuple[str, ...] = (), paper: str = "p") -> dict:
    found = {"id": name, "paper": paper, "conditions": list(conditions), "against": list(against) or None}
    return found | {"sentence": f"Contradicted: {name}.", "verdict": "contradicted"}


def test_claims_on_the_pair_say_what_was_found_and_wider_ones_where_they_are_compared(tmp_path):
    many = [f"c{number}" for number in range(8)]
    claims = [
        _claim("ordered", "et", "tc"),
        _claim("grouped", "tc", against=("et",)),
        _claim("of-three", "et", "tc", "dense"),
        _claim("of-ten", "et", "tc", *many),
        _claim("of-one", "et"),
        _claim("elsewhere", "et", "tc", paper="q"),
    ]
    write_json(tmp_path / "scorecard.json", {"claims": claims})
    pages = {"of-three": {"compare": "http://here/#/three"}, "of-ten": {"compare": "http://here/#/ten"}}
    write_json(tmp_path / "mirror.json", {"claims": pages})
    assert claim_lines(tmp_path, "p", ("tc", "et")) == [
        "Claims on this pair:",
        "  ordered: Contradicted: ordered.",
        "  grouped: Contradicted: grouped.",
        "Claims on these and further conditions:",
        "  of-three: http://here/#/three",
        f"Further claims, with links in {tmp_path / 'mirror.json'}: of-ten",
    ]


def test_without_a_mirror_no_link_is_promised(tmp_path):
    claims = [_claim("of-three", "et", "tc", "dense"), _claim("of-four", "et", "tc", "dense", "ec")]
    write_json(tmp_path / "scorecard.json", {"claims": claims})
    assert claim_lines(tmp_path, "p", ("tc", "et")) == ["Further claims, without a page in MLflow: of-three, of-four"]


def test_before_the_claims_are_judged_there_is_nothing_to_name(tmp_path):
    assert claim_lines(tmp_path, "p", ("et", "tc")) == []
