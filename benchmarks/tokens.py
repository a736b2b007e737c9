"""Tokeniser training and encoding on the embedded corpus, in MB of UTF-8 text a second."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import polars as pl

from benchmarks import results, timing
from benchmarks.prepared import corpus
from moe_replication.data.corpus import embedded_source
from moe_replication.data.encode import encode_documents
from moe_replication.data.tokenizer import load_tokenizer, train_tokenizer

VOCABULARIES = (512, 1024, 4096)
MEGABYTES = 2.0


def run(quick: bool) -> list[dict]:
    """Rows of training for every vocabulary, and of encoding with each by one process and two."""
    source = embedded_source(corpus(), "embedded")
    sample = _sample(pl.concat(source.batches("train")), MEGABYTES * 1e6)
    megabytes = sample["text"].str.len_bytes().sum() / 1e6
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for vocabulary in VOCABULARIES[:1] if quick else VOCABULARIES:
            path = Path(folder, f"{vocabulary}.json")
            train = _training(path, sample, vocabulary)
            train()
            tokenizer = load_tokenizer(path)
            candidates: dict[str, Callable[[], object]] = {"train": train}
            for workers in (1,) if quick else (1, 2):
                candidates[f"encode, {workers} process{'es' if workers > 1 else ''}"] = (
                    lambda tokenizer=tokenizer, workers=workers: list(encode_documents(tokenizer, [sample], workers))
                )
            seconds = timing.in_turn(candidates, 2 if quick else 5, warm_up=0)
            for name, found in seconds.items():
                row = results.row("tokens", f"vocabulary {vocabulary}", name, found, megabytes=megabytes)
                rows.append(row | {"megabytes_per_second": megabytes / row["seconds"]})
    return rows


def _training(path: Path, sample: pl.DataFrame, vocabulary: int) -> Callable[[], object]:
    return lambda: train_tokenizer(path, [sample], vocab_size=vocabulary, sample_megabytes=MEGABYTES)


def _sample(documents: pl.DataFrame, size: float) -> pl.DataFrame:
    """The first documents that hold `size` bytes, or all."""
    return documents.filter(pl.col("text").str.len_bytes().cum_sum().shift(1, fill_value=0) < size)
