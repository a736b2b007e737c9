"""What tokens are made from: a set of documents that can be passed over in a fixed order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import polars as pl

SPLITS = ("train", "validation")


@dataclass(frozen=True, kw_only=True)
class TextSource:
    """A text set; `facts` (JSON) say which documents in which order, each `batches(split)` is a new pass.

    Batches are frames with columns doc_id, domain, package and text, of any number of rows.
    """

    facts: dict[str, object]
    batches: Callable[[str], Iterable[pl.DataFrame]]


def hash_split(digest: str, validation_percent: float) -> str:
    """Split of a document by its SHA-256 in hex, independent of the first 16 digits, which are its id."""
    return SPLITS[int(digest[16:24], 16) < round(validation_percent / 100 * 16**8)]
