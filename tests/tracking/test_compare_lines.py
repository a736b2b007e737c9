"""`compare A B` names the claims on that pair and the pages that compare their conditions."""

from __future__ import annotations

from moe_replication.cli.compare_runs import claim_lines
from moe_replication.files import write_json


def _claim(name: str, *conditions: str, against: tuple[str, ...] = (), paper: str = "p") -> dict:
    found = {"id": name, "paper": paper, "conditions": list(conditions), "against": list(against) or None}
    return found | {"sentence": f"Contradicted: {name}.", "verdict": "contradicted"}


def test_every_claim_on_the_pair_has_its_link_and_those_on_just_these_two_what_was_found(tmp_path):
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
    pages = {name: {"compare": f"http://here/#/{name}"} for name in ("ordered", "grouped", "of-three", "of-ten")}
    write_json(tmp_path / "mirror.json", {"claims": pages})
    assert claim_lines(tmp_path, "p", ("tc", "et")) == [
        "Claims on this pair:",
        "  ordered: Contradicted: ordered.",
        "    http://here/#/ordered",
        "  grouped: Contradicted: grouped.",
        "    http://here/#/grouped",
        "Claims on these and further conditions:",
        "  of-three, 3 conditions: http://here/#/of-three",
        "  of-ten, 10 conditions: http://here/#/of-ten",
    ]


def test_without_a_mirror_no_link_is_promised(tmp_path):
    write_json(tmp_path / "scorecard.json", {"claims": [_claim("ordered", "et", "tc")]})
    assert claim_lines(tmp_path, "p", ("tc", "et")) == ["Claims on this pair:", "  ordered: Contradicted: ordered."]
    claims = [_claim("of-three", "et", "tc", "dense"), _claim("of-four", "et", "tc", "dense", "ec")]
    write_json(tmp_path / "scorecard.json", {"claims": claims})
    assert claim_lines(tmp_path, "p", ("tc", "et")) == ["Further claims, without a page in MLflow: of-three, of-four"]


def test_before_the_claims_are_judged_there_is_nothing_to_name(tmp_path):
    assert claim_lines(tmp_path, "p", ("et", "tc")) == []
