"""Texts to probe on, and their loss by document.

Documents are packed as training packs them, one after the other, each beginning with `<|bos|>`. A token is the
position that reads it: its loss is that of predicting the next one, so the last token of a document predicts the
`<|bos|>` of the next.
Legend: N tokens, D documents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from scipy.special import stdtrit
from tokenizers import Tokenizer

from moe_replication.data.shards import TokenShards
from moe_replication.data.tokenizer import BOS_ID, encode
from moe_replication.errors import BadInput
from moe_replication.statistics.collect import read_parquet
from moe_replication.statistics.intervals import LEVEL

VALIDATION = "validation"
DOMAINS = (VALIDATION, "code", "math")


@dataclass(frozen=True, kw_only=True)
class Text:
    """N tokens to read, one more to predict last, and where each document begins."""

    domain: str
    ids: np.ndarray
    starts_D: np.ndarray

    @property
    def tokens(self) -> int:
        """N, the tokens that have a loss."""
        return len(self.ids) - 1

    def head(self, tokens: int) -> Text:
        """Its first `tokens` tokens, all where it is shorter."""
        tokens = min(tokens, self.tokens)
        starts_D = self.starts_D[self.starts_D < tokens]
        return Text(domain=self.domain, ids=self.ids[: tokens + 1], starts_D=starts_D)

    def document_of_token(self) -> np.ndarray:
        """Index of the document that each of the N tokens belongs to."""
        return np.searchsorted(self.starts_D, np.arange(self.tokens), side="right") - 1


def validation_text(shards: TokenShards, limit: int) -> Text:
    """The first `limit` tokens of the validation split; all of it where it is shorter."""
    stream = shards.split(VALIDATION)
    starts_D = shards.documents(VALIDATION)["start"].to_numpy()
    tokens = min(limit, len(stream) - 1)
    ids = np.asarray(stream[: tokens + 1]).astype(np.int64)
    return Text(domain=VALIDATION, ids=ids, starts_D=starts_D[starts_D < tokens])


def domain_texts(folder: Path, tokenizer: Tokenizer, documents: int) -> list[Text]:
    """The first `documents` documents of every out-of-domain set; BadInput when one has none."""
    path = folder / "documents.parquet"
    table = read_parquet(path, ("domain", "doc_id", "text"))
    texts = []
    for domain in DOMAINS[1:]:
        chosen = table.filter(pl.col("domain") == domain).head(documents)
        if chosen.is_empty():
            raise BadInput(f"{path}: no document of domain {domain}; delete {folder} and prepare the domains again")
        texts.append(pack(domain, encode(tokenizer, chosen["text"].to_list())))
    return texts


def pack(domain: str, documents: list[list[int]]) -> Text:
    """Documents one after the other; a closing `<|bos|>` is the target of the last token."""
    lengths = [len(ids) for ids in documents]
    ids = np.array([token for document in documents for token in document] + [BOS_ID], dtype=np.int64)
    return Text(domain=domain, ids=ids, starts_D=np.cumsum([0, *lengths[:-1]]))


def document_row(text: Text, losses_N: np.ndarray) -> dict:
    """One row of the documents table: mean token loss with its 95 % interval over documents."""
    document_N = text.document_of_token()
    counts_D = np.bincount(document_N)
    sums_D = np.bincount(document_N, weights=losses_N.astype(np.float64))
    loss, low, high = ratio_interval(sums_D, counts_D)
    return {
        "domain": text.domain,
        "documents": len(counts_D),
        "tokens": text.tokens,
        "loss": loss,
        "ci_low": low,
        "ci_high": high,
    }


def ratio_interval(
    sums_D: np.ndarray, counts_D: np.ndarray, level: float = LEVEL
) -> tuple[float, float | None, float | None]:
    """Mean over tokens R = sum(y) / sum(n) and its interval when documents, not tokens, are the sample.

    Linearised standard error of a ratio estimate, sqrt(sum (y - R n)^2 / (D (D - 1))) / mean(n), with Student's t
    on D - 1 degrees of freedom (Cochran, Sampling Techniques, 3rd ed. 1977, chapter 6, without the finite
    population's factor). The interval is None for one document.
    """
    documents = len(sums_D)
    ratio = float(sums_D.sum() / counts_D.sum())
    if documents == 1:
        return ratio, None, None
    residuals_D = sums_D - ratio * counts_D
    error = math.sqrt((residuals_D**2).sum() / (documents * (documents - 1))) / counts_D.mean()
    half = float(stdtrit(documents - 1, (1 + level) / 2)) * error
    return ratio, ratio - half, ratio + half
