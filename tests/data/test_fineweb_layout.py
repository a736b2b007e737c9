"""A local copy in FineWeb-Edu's hub layout, made from an embedded corpus, through data.roots to training batches."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import pytest

from moe_replication.data.batches import LanguageBatches
from moe_replication.data.corpus import CorpusSettings, build_corpus, read_documents
from moe_replication.data.docstrings import text_digest
from moe_replication.data.prepare import prepare_tokens
from moe_replication.data.shards import TokenShards
from moe_replication.data.sources import hash_split
from moe_replication.data.tokenizer import BOS_ID, encode, load_tokenizer

TOKENS = {
    "vocab_size": 512,
    "tokenizer_megabytes": 0.1,
    "train_tokens": 20_000,
    "validation_tokens": 1000,
    "shard_tokens": 6000,
}
LENGTH, SEQUENCES = 32, 8


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    settings = CorpusSettings(
        packages=["rich", "numpy.ma", "yaml"], minimum_characters=60, maximum_characters=2000, validation_percent=20
    )
    folder = tmp_path_factory.mktemp("corpus")
    build_corpus(folder, settings)
    return read_documents(folder)


@pytest.fixture(scope="module")
def root(documents, tmp_path_factory):
    """Two files of sample/100BT with the columns of HuggingFaceFW/fineweb-edu."""
    root = tmp_path_factory.mktemp("fineweb-edu")
    folder = root / "sample" / "100BT"
    folder.mkdir(parents=True)
    lengths = documents["text"].str.len_chars()
    rows = documents.select(
        "text",
        id="<urn:uuid:" + pl.col("doc_id") + ">",
        dump=pl.lit("CC-MAIN-2024-10"),
        url="https://example.org/" + pl.col("path"),
        file_path=pl.lit("s3://commoncrawl/crawl-data/segment.warc.gz"),
        language=pl.lit("en"),
        language_score=pl.lit(0.97),
        token_count=lengths // 4,
        score=pl.lit(3.4),
        int_score=pl.lit(3, pl.Int64),
    )
    half = rows.height // 2
    for number, part in enumerate((rows.head(half), rows.tail(-half))):
        part.write_parquet(folder / f"{number:03d}_00000.parquet", row_group_size=100)
    return root


@pytest.fixture(scope="module")
def prepared(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    return folder, prepare_tokens(folder, "fineweb-edu", TOKENS, folder / "no corpus", {"fineweb-edu": root})


def test_shards_hold_the_documents_of_the_copy(documents, prepared):
    folder, manifest = prepared
    shards = TokenShards.open(folder, verify=True)
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    texts = {text_digest(text)[:16]: text for text in documents["text"]}
    assert [entry["tokens"] for entry in manifest["splits"]["train"]["shards"]] == [6000, 6000, 6000, 2000]
    for split in ("train", "validation"):
        stream, index = shards.split(split), shards.documents(split)
        assert len(stream) == TOKENS[f"{split}_tokens"]
        ids = [token for doc_id in index["doc_id"] for token in encode(tokenizer, [texts[doc_id]])[0]]
        assert np.asarray(stream).tolist() == ids[: len(stream)]
        for doc_id in index["doc_id"]:
            assert hash_split(text_digest(texts[doc_id]), 1.0) == split
    assert manifest["source"]["revision"] == "87f09149ef4734204d70ed1d046ddc9ca3f2b8f9"


def test_documents_come_from_all_over_the_copy(documents, prepared):
    folder, _ = prepared
    place = {text_digest(text)[:16]: row for row, text in enumerate(documents["text"])}
    rows = [place[doc_id] for doc_id in TokenShards.open(folder).documents("train")["doc_id"][:60]]
    assert rows != sorted(rows)


def test_batches_read_every_token_once_an_epoch(prepared):
    folder, _ = prepared
    stream = TokenShards.open(folder).split("train")
    batches = LanguageBatches(stream, LENGTH, SEQUENCES, seed=3)
    steps = batches.windows // SEQUENCES
    read = [batches.batch(step) for step in range(steps)]
    windows = np.asarray(stream)[: batches.windows * LENGTH + 1].astype(np.int64)
    known = Counter(tuple(windows[at : at + LENGTH + 1]) for at in range(0, batches.windows * LENGTH, LENGTH))
    rows = [
        (*inputs, targets[-1])
        for step in read
        for inputs, targets in zip(step[0].tolist(), step[1].tolist(), strict=True)
    ]
    assert len(rows) == steps * SEQUENCES
    assert not Counter(rows) - known
    assert all((step[0][:, 1:] == step[1][:, :-1]).all() for step in read)
    assert any((step[0] == BOS_ID).any() for step in read)
    # A run that goes on at step 5 reads what it would have read.
    again = LanguageBatches(TokenShards.open(folder).split("train"), LENGTH, SEQUENCES, seed=3).batch(5)
    assert all((got == want).all() for got, want in zip(again, read[5], strict=True))
