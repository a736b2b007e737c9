"""Verdicts and kinds of claims, as every page words them."""

from __future__ import annotations

from dataclasses import dataclass

from moe_replication.statistics.claims import PAPER_CELL, SAME_CLAIM


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """How a kind of claim is headed and explained, and its name in the address of a filtered view."""

    title: str
    meaning: str
    address: str


KINDS = {
    SAME_CLAIM: Kind(
        title="The same claim at our scale",
        meaning="Does what the paper says hold in our runs? Its direction here is not the paper's number.",
        address="our-scale",
    ),
    PAPER_CELL: Kind(
        title="The paper's cell",
        meaning="Do our runs give the number that stands in the paper? Judged at scale paper only.",
        address="paper-cell",
    ),
}


def verdict_words(verdict: str) -> str:
    """A verdict as it is read: not_run is "not run"."""
    return verdict.replace("_", " ")
