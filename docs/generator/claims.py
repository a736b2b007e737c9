"""The page of claims: their format, how many there are, tests, verdicts and the scorecard's rules."""

from __future__ import annotations

from collections import Counter

from generator.markdown import PAPERS, ROOT, WORDS, code, prose, schema, table
from generator.schema_keys import keys_of
from moe_replication.config.claims import UNUSED, load_claims
from moe_replication.config.schema import SCHEMAS
from moe_replication.report.scorecard_words import RULES
from moe_replication.report.verdicts import KINDS
from moe_replication.statistics import claims as judging


def claims_page() -> str:
    """docs/reference/claims.md."""
    form = schema("claims")
    claims = load_claims(ROOT / "config/claims", ROOT / SCHEMAS / "claims.schema.yaml")
    # Beside these the schema's conditional parts say what other keys need.
    conditional = [part for part in form["allOf"] if "comparison" in part["if"].get("properties", {})]
    extra = {part["if"]["properties"]["comparison"]["const"]: part["then"] for part in conditional}
    rows = ((code(key.name), key.type, _needed(form, extra, key.name), prose(key.meaning)) for key in keys_of(form))
    parts = [f"# Claims\n\n{WORDS['intro']['claims']}\n## Keys\n\n{table(('Key', 'Type', 'Needed', 'Meaning'), rows)}"]
    parts += [f"## Claims by paper and kind\n\n{_kinds(claims)}"]
    parts += [f"## Claims by comparison\n\n{WORDS['sections']['comparisons']}\n\n{_comparisons(claims, extra)}"]
    rows = ((code(test), prose(WORDS["tests"][test])) for test in form["properties"]["test"]["enum"])
    parts += [f"## Tests\n\n{table(('Test', 'Meaning'), rows)}"]
    rows = ((code(verdict), prose(WORDS["verdicts"][verdict])) for verdict in judging.VERDICTS)
    parts += [f"## Verdicts\n\n{table(('Verdict', 'Meaning'), rows)}"]
    parts += ["## Rules\n\nAs the scorecard prints them.\n\n", *(f"- {prose(rule)}\n" for rule in RULES)]
    return "".join(parts)


def _needed(form: dict, extra: dict[str, dict], key: str) -> str:
    """Which comparisons demand a key of a claim."""
    if key in form["required"]:
        return "always"
    return ", ".join(code(name) for name, rule in extra.items() if key in rule["required"])


def _kinds(claims: list[dict]) -> str:
    counts = Counter((judging.KINDS[claim["comparison"]], claim["paper"]) for claim in claims)
    rows = (
        (kind.title, *(str(counts[name, paper]) for paper in PAPERS.values()), prose(kind.meaning))
        for name, kind in KINDS.items()
    )
    return table(("Kind", *PAPERS, "Question"), rows)


def _comparisons(claims: list[dict], extra: dict[str, dict]) -> str:
    counts = Counter((claim["comparison"], claim["test"], claim["paper"]) for claim in claims)
    rows = []
    for comparison, rule in extra.items():
        test = rule["properties"]["test"]
        for name in test.get("enum") or [test["const"]]:
            numbers = (str(counts[comparison, name, paper]) for paper in PAPERS.values())
            refused = ", ".join(map(code, sorted(UNUSED[comparison])))
            rows.append((code(comparison), KINDS[judging.KINDS[comparison]].title, code(name), *numbers, refused))
    return table(("Comparison", "Kind", "Test", *PAPERS, "Refused keys"), rows)
