"""config/claims/*.yaml: what each paper says, where, and how it is judged (statistics/claims.py)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from moe_replication.config.schema import read_yaml_value, validate
from moe_replication.errors import BadInput
from moe_replication.files import sha256_json

# Keys that say nothing for a comparison; the schema demands those that do.
UNUSED = {
    "ordering": {"against", "margin", "margin_origin", "threshold", "logarithmic"},
    "threshold": {"against", "margin", "margin_origin", "paper_epochs"},
    "equivalence": {"against", "direction", "threshold", "logarithmic"},
    "at_most": {"against", "threshold", "logarithmic"},
    "bound": {"against", "family", "threshold", "logarithmic", "paper_epochs"},
    "value": {"against", "direction", "family", "threshold", "logarithmic", "paper_epochs"},
    "difference": {"against", "direction", "family", "threshold", "logarithmic", "paper_epochs"},
    "groups": {"margin", "margin_origin", "logarithmic", "paper_value", "paper_epochs"},
    "sign": {"against", "margin", "margin_origin", "logarithmic", "paper_value", "paper_epochs"},
}
# Further ones that say nothing for a test.
UNUSED_BY_TEST = {"permutation": {"threshold"}}


def load_claims(folder: Path | str, schema_path: Path | str) -> list[dict]:
    """Every entry of every *.yaml in `folder`, in file order, each checked against the schema of a claim."""
    claims = []
    for path in sorted(Path(folder).glob("*.yaml")):
        for number, claim in enumerate(_entries(path), start=1):
            name = claim.get("id", f"number {number}") if isinstance(claim, dict) else f"number {number}"
            source = f"{path}: claim {name}"
            validate(claim, Path(schema_path), source)
            if claim["paper"] != path.stem:
                raise BadInput(f"{source}: paper = {claim['paper']!r} must equal the file name; move it there")
            comparison, test = claim["comparison"], claim["test"]
            unused = ", ".join(sorted((UNUSED[comparison] | UNUSED_BY_TEST.get(test, set())) & set(claim)))
            if unused:
                raise BadInput(f"{source}: {unused} has no use in comparison {comparison} by {test}; delete it")
            claims.append(claim)
    return claims


def check_claims(claims: Iterable[dict], known_conditions: Collection[tuple[str, str]]) -> None:
    """Refuse a repeated id, a condition that is not among the known (paper, condition) pairs, or in both groups."""
    seen: set[str] = set()
    for claim in claims:
        if claim["id"] in seen:
            raise BadInput(f"claim {claim['id']}: the id is used twice in config/claims; rename one")
        seen.add(claim["id"])
        against = claim.get("against", [])
        for condition in (*claim["conditions"], *against):
            if (claim["paper"], condition) not in known_conditions:
                raise BadInput(
                    f"claim {claim['id']}: unknown condition {condition!r} of {claim['paper']}; "
                    f"add it to config/papers/{claim['paper']}.yaml or mend the claim"
                )
            if condition in against and condition in claim["conditions"]:
                raise BadInput(f"claim {claim['id']}: {condition!r} is in conditions and against; delete it from one")


def claim_digest(claim: Mapping) -> str:
    """12 hex digits of everything in a claim but the figures that it points to."""
    return sha256_json({key: value for key, value in claim.items() if key != "figures"})[:12]


def _entries(path: Path) -> list:
    entries = read_yaml_value(path)
    if not isinstance(entries, list):
        raise BadInput(f"{path}: expected a list of claims, found {type(entries).__name__}; start each with '- id:'")
    return entries
