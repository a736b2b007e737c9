"""A scale's scorecard.json, checked before pages are written from it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from moe_replication.errors import BadInput
from moe_replication.files import read_json
from moe_replication.report.scorecard_words import CHANGES
from moe_replication.report.verdicts import KINDS
from moe_replication.statistics.claims import VERDICTS

FILE = "scorecard.json"
CARD = ("scale", "scale_note", "claims_sha256", "claims_edited", "totals", "sections", "tests", "warnings", "claims")
_ENTRY = (
    "id", "paper", "place", "claim", "kind", "metric", "conditions", "verdict", "sentence", "evidence", "figures",
)  # fmt: skip
LISTS = {
    "sections": ("kind", "paper", "totals"),
    "tests": ("paper", "tests", "families", "settled", "over_paper"),
    "claims": _ENTRY,
    "claims_edited": ("id", "paper", "change", "runs", "without", "of"),
}


def read_card(results: Path) -> dict:
    """scorecard.json in results/{scale}; BadInput where it is of another scale or lacks what the pages show."""
    path = results / FILE
    card = read_json(path)
    _require(card, CARD, path, "the scorecard")
    if card["scale"] != results.name:
        raise BadInput(f"{path}: scale = {card['scale']!r} must be {results.name}; {_remedy(results)}")
    _require(card["totals"], VERDICTS, path, "totals")
    for key, needed in LISTS.items():
        if not isinstance(card[key], list):
            raise BadInput(f"{path}: {key} must be a list; {_remedy(results)}")
        for number, entry in enumerate(card[key]):
            _check_entry(entry, needed, path, f"{key}[{number}]")
    return card


def _check_entry(entry: object, needed: Iterable[str], path: Path, where: str) -> None:
    _require(entry, needed, path, where)
    for key, known in (("kind", KINDS), ("verdict", VERDICTS), ("change", CHANGES)):
        if key in needed and entry[key] not in known:
            rule = f"must be one of {', '.join(known)}"
            raise BadInput(f"{path}: {where}.{key} = {entry[key]!r} {rule}; {_remedy(path.parent)}")
    if "totals" in needed:
        _require(entry["totals"], VERDICTS, path, f"{where}.totals")


def _require(entry: object, keys: Iterable[str], path: Path, where: str) -> None:
    missing = [key for key in keys if not isinstance(entry, dict) or key not in entry]
    if missing:
        raise BadInput(f"{path}: {where} lacks {', '.join(missing)}; {_remedy(path.parent)}")


def _remedy(results: Path) -> str:
    return f"judge again: moe-replication claims --scale {results.name}"
