from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from moe_replication.config.claims import check_claims, claim_digest, load_claims
from moe_replication.errors import BadInput

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow/schemas/claims.schema.yaml"
ORDERING = {
    "id": "a-one",
    "paper": "expert-threshold",
    "place": "Table 1",
    "statement": "ET is lower.",
    "metric": "val_loss",
    "conditions": ["et", "tc"],
    "comparison": "ordering",
    "direction": "less",
    "test": "paired_t",
    "family": "table-1",
    "scales": ["demo"],
    "figures": [],
}
EQUIVALENCE = {key: value for key, value in ORDERING.items() if key != "direction"} | {
    "comparison": "equivalence",
    "test": "tost",
    "margin": 0.01,
    "margin_origin": "ours",
}
AT_MOST = EQUIVALENCE | {"comparison": "at_most", "test": "one_sided_t", "direction": "less"}
GROUPS = {key: value for key, value in ORDERING.items() if key != "conditions"} | {
    "comparison": "groups",
    "conditions": ["et"],
    "against": ["tc", "dense"],
    "test": "permutation",
}
SIGN = {key: value for key, value in GROUPS.items() if key != "against"} | {
    "comparison": "sign",
    "test": "sign_test",
    "threshold": 0,
}


def load(tmp_path, *claims):
    (tmp_path / "expert-threshold.yaml").write_text(yaml.safe_dump(list(claims)))
    return load_claims(tmp_path, SCHEMA)


def known_conditions():
    known = set()
    for path in (ROOT / "config/papers").glob("*.yaml"):
        paper = yaml.safe_load(path.read_text())
        known |= {(paper["paper"], name) for name in paper["conditions"]}
    return known


def test_the_shipped_claims_are_valid_and_name_known_conditions():
    claims = load_claims(ROOT / "config/claims", SCHEMA)
    check_claims(claims, known_conditions())
    assert {claim["paper"] for claim in claims} == {"expert-threshold", "expert-ecology"}
    assert all(claim["id"][0] == ("a" if claim["paper"] == "expert-threshold" else "b") for claim in claims)


def test_valid_entries_come_back_unchanged(tmp_path):
    assert load(tmp_path, ORDERING, EQUIVALENCE | {"id": "a-two"}) == [
        ORDERING,
        EQUIVALENCE | {"id": "a-two"},
    ]
    others = [GROUPS, GROUPS | {"id": "a-two", "test": "fisher", "threshold": 2}, SIGN | {"id": "a-three"}]
    others += [AT_MOST | {"id": "a-four", "paper_value": 10, "paper_epochs": 100}]
    assert load(tmp_path, *others) == others


@pytest.mark.parametrize(
    ("base", "change", "message"),
    [
        (ORDERING, {"colour": "red"}, r"expert-threshold\.yaml: claim a-one: unknown key colour"),
        (ORDERING, {"comparison": "greater"}, "comparison = 'greater'"),
        (ORDERING, {"scales": ["laptop"]}, r"scales\.0 = 'laptop'"),
        (ORDERING, {"conditions": ["et"]}, "conditions"),
        (ORDERING, {"conditions": ["et", "tc", "dense"]}, "conditions"),
        (ORDERING, {"test": "tost"}, "test = 'tost'"),
        (
            ORDERING,
            {"margin": 0.1, "margin_origin": "ours"},
            "margin, margin_origin has no use in comparison ordering",
        ),
        (ORDERING, {"paper": "expert-ecology"}, "must equal the file name"),
        (EQUIVALENCE, {"margin": 0}, "margin = 0"),
        (EQUIVALENCE, {"direction": "less"}, "direction has no use in comparison equivalence"),
        (AT_MOST, {"threshold": 0}, "threshold has no use in comparison at_most"),
        (AT_MOST, {"test": "tost"}, "test = 'tost'"),
        (AT_MOST, {"conditions": ["et"]}, "conditions"),
        (GROUPS, {"threshold": 0}, "threshold has no use in comparison groups by permutation"),
        (GROUPS, {"paper_value": 1}, "paper_value has no use in comparison groups"),
        (GROUPS, {"test": "paired_t"}, "test = 'paired_t'"),
        (GROUPS, {"against": []}, "against"),
        (SIGN, {"against": ["tc"]}, "against has no use in comparison sign by sign_test"),
        (SIGN, {"test": "fisher"}, "test = 'fisher'"),
        (ORDERING, {"against": ["tc"]}, "against has no use in comparison ordering"),
        (ORDERING, {"paper_epochs": 100}, "missing key paper_value"),
        (EQUIVALENCE, {"paper_value": 1, "paper_epochs": 0}, "paper_epochs = 0"),
        (EQUIVALENCE, {"comparison": "value", "test": "prediction_interval"}, "missing key paper_value"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, base, change, message):
    with pytest.raises(BadInput, match=message):
        load(tmp_path, base | change)


@pytest.mark.parametrize("missing", ["id", "place", "direction", "family", "scales"])
def test_a_missing_key_is_named(tmp_path, missing):
    with pytest.raises(BadInput, match=f"missing key {missing}"):
        load(tmp_path, {key: value for key, value in ORDERING.items() if key != missing})


@pytest.mark.parametrize(
    ("base", "missing"),
    [
        (GROUPS, "against"),
        (GROUPS, "direction"),
        (GROUPS, "family"),
        (SIGN, "threshold"),
        (AT_MOST, "direction"),
        (AT_MOST, "margin"),
        (AT_MOST, "margin_origin"),
    ],
)
def test_a_missing_key_of_one_comparison_is_named(tmp_path, base, missing):
    with pytest.raises(BadInput, match=f"missing key {missing}"):
        load(tmp_path, {key: value for key, value in base.items() if key != missing})


def test_a_margin_needs_its_origin(tmp_path):
    with pytest.raises(BadInput, match="missing key margin_origin"):
        load(tmp_path, {key: value for key, value in EQUIVALENCE.items() if key != "margin_origin"})


def test_a_cell_of_the_paper_is_judged_at_scale_paper_only(tmp_path):
    cell = EQUIVALENCE | {
        "comparison": "value",
        "test": "prediction_interval",
        "conditions": ["et"],
        "paper_value": 1,
    }
    cell = {key: value for key, value in cell.items() if key != "family"}
    assert load(tmp_path, cell | {"scales": ["paper"]})
    with pytest.raises(BadInput, match="scales"):
        load(tmp_path, cell)


def test_an_unknown_condition_names_claim_and_condition():
    with pytest.raises(BadInput, match="claim a-one: unknown condition 'tc' of expert-threshold"):
        check_claims([ORDERING], {("expert-threshold", "et"), ("expert-ecology", "tc")})


def test_both_groups_are_checked():
    known = {("expert-threshold", name) for name in ("et", "tc")}
    with pytest.raises(BadInput, match="claim a-one: unknown condition 'dense' of expert-threshold"):
        check_claims([GROUPS], known)
    with pytest.raises(BadInput, match="claim a-one: 'et' is in conditions and against"):
        check_claims([GROUPS | {"against": ["tc", "et"]}], known)


def test_the_digest_of_a_claim_is_of_all_but_its_figures():
    claim = {"id": "a", "margin": 0.1, "figures": ["a-table01"]}
    assert claim_digest(claim) == claim_digest(claim | {"figures": []})
    assert claim_digest(claim) != claim_digest(claim | {"margin": 0.2})
    assert len(claim_digest(claim)) == 12


def test_a_repeated_id_is_refused():
    with pytest.raises(BadInput, match="claim a-one: the id is used twice"):
        check_claims([ORDERING, ORDERING], {("expert-threshold", "et"), ("expert-threshold", "tc")})


@pytest.mark.parametrize(
    ("text", "message"), [("{a: 1}", "expected a list of claims"), ("- [", "not valid YAML at line")]
)
def test_a_file_that_is_no_list_is_named(tmp_path, text, message):
    (tmp_path / "expert-threshold.yaml").write_text(text)
    with pytest.raises(BadInput, match=message):
        load_claims(tmp_path, SCHEMA)
