"""A token set of made-up words, for runs whose numbers nobody reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from moe_replication.data.shard_writer import write_manifest, write_split
from moe_replication.data.tokenizer import load_tokenizer, train_tokenizer


def write_made_tokens(folder: Path, documents: int = 60) -> None:
    """Tokenizer and shards of a vocabulary of 512; some 500 tokens a document, four documents for validation."""
    generator = np.random.default_rng(0)
    words = ["".join(generator.choice(list("abcdefgh"), 5)) for _ in range(300)]
    texts = [" ".join(generator.choice(words, 400)) for _ in range(documents)]
    names = [f"{number:04d}" for number in range(documents)]
    frame = pl.DataFrame({"doc_id": names, "text": texts, "domain": "prose", "package": "made"})
    trained = train_tokenizer(folder / "tokenizer.json", [frame], vocab_size=512, sample_megabytes=0.1)
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    parts = {"train": frame.head(documents - 4), "validation": frame.tail(4)}
    splits = {
        name: write_split(folder, name, [part], tokenizer, max_tokens=None, shard_tokens=10**6)
        for name, part in parts.items()
    }
    write_manifest(folder, splits, vocab_size=512, tokenizer=trained)
