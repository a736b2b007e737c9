"""Where the settings of a scale's conditions come from: counted, and the reconstructed ones listed."""

from __future__ import annotations

import json
import re
from collections import defaultdict

from moe_replication.config.matrix import Paper
from moe_replication.config.overlays import Leaf
from moe_replication.report.html import escape, table

STATED, RELEASED, RECONSTRUCTED, OURS = "the papers", "released code", "reconstructed", "ours"
UNUSED, OTHER = "without effect", "other"
KINDS = (STATED, RELEASED, RECONSTRUCTED, OURS, UNUSED, OTHER)
# How origins begin, the first that fits counts; config/README.md says what the marks mean. After a mark the origin
# ends or goes on with punctuation, after a phrase with anything but a letter.
_MARKS = {
    "paper B, R and N": RECONSTRUCTED,
    "paper B, R": RECONSTRUCTED,
    "expert-threshold, released recipe": RELEASED,
    **dict.fromkeys(("paper", "paper A", "paper B", "N", "S", "V2", "A", "expert-threshold", "expert-ecology"), STATED),
    **dict.fromkeys(("R", "arithmetic"), RECONSTRUCTED),
    "ours": OURS,
}
_PHRASES = {
    **dict.fromkeys(("paper A's", "paper B's", "the paper's"), STATED),
    **dict.fromkeys(("released code", "recipe released"), RELEASED),
    **dict.fromkeys(("not applicable to", "not used by", "the balance loss is part of ecology"), UNUSED),
    "the horizon is given in": UNUSED,
}
_STARTS = [(re.compile(rf"{re.escape(text)}(?=$|[,:;(]| \()"), kind) for text, kind in _MARKS.items()]
_STARTS += [(re.compile(rf"{re.escape(text)}(?!\w)"), kind) for text, kind in _PHRASES.items()]


def origin_kind(origin: str) -> str:
    """One of KINDS; OTHER for a text that begins with no known mark or phrase."""
    return next((kind for start, kind in _STARTS if start.match(origin)), OTHER)


def settings_of(paper: Paper) -> dict[tuple[str, str, str], list[str]]:
    """(dotted key, value as JSON, origin) -> the conditions that have it, in the order of the matrix."""
    found: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for condition in paper.conditions.values():
        for key, leaf in _leaves(condition.tree):
            found[key, json.dumps(leaf.value, ensure_ascii=False), leaf.origin].append(condition.name)
    return dict(found)


def counts_table(papers: dict[str, Paper]) -> str:
    """How many settings of each paper come from where, as HTML."""
    rows = []
    for name, paper in papers.items():
        kinds = [origin_kind(origin) for _, _, origin in settings_of(paper)]
        rows.append([escape(name), *(str(kinds.count(kind)) for kind in KINDS), str(len(kinds))])
    return table(("Paper", *KINDS, "all"), rows, range(1, len(KINDS) + 2))


def reconstructed_table(paper: Paper) -> str:
    """Every reconstructed setting of a paper with its value, why, and how many conditions have it, as HTML."""
    rows = [
        (f"<code>{escape(key)}</code>", escape(value), escape(_reason(origin)), str(len(conditions)))
        for (key, value, origin), conditions in settings_of(paper).items()
        if origin_kind(origin) == RECONSTRUCTED
    ]
    return table(("Setting", "Value", "Reading", "Conditions"), rows, [3])


def rates(paper: Paper) -> list[tuple[str, str, str, str, str]]:
    """(paper, key, value, origin, how many conditions) of every learning rate."""
    return [
        (paper.name, key, value, origin, str(len(conditions)))
        for (key, value, origin), conditions in settings_of(paper).items()
        if key.endswith("_lr")
    ]


def _reason(origin: str) -> str:
    """What an origin says beyond its mark."""
    return "no public source" if origin == "R" else origin.removeprefix("R: ")


def _leaves(tree: dict, prefix: str = "") -> list[tuple[str, Leaf]]:
    return [
        pair
        for key, item in tree.items()
        for pair in ([(prefix + key, item)] if isinstance(item, Leaf) else _leaves(item, f"{prefix}{key}."))
    ]
