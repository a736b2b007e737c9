from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_replication.data.shard_writer import write_manifest, write_split
from moe_replication.data.shards import TokenShards, TokenStream
from moe_replication.data.tokenizer import BOS_ID, encode, load_tokenizer, train_tokenizer
from moe_replication.errors import BadInput

LETTERS = np.random.default_rng(0).choice(list("abcdefghij"), size=(150, 20, 3))
DOCUMENTS = pl.DataFrame(
    {
        "doc_id": [f"{n:03d}" for n in range(150)],
        "package": ["numpy" if n % 3 else "scipy" for n in range(150)],
        "domain": ["code" if n % 2 else "prose" for n in range(150)],
        "text": ["é routing: " + " ".join(map("".join, LETTERS[n, : 5 + n % 15])) for n in range(150)],
    }
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    train_tokenizer(path, [DOCUMENTS], vocab_size=512, sample_megabytes=1)
    return load_tokenizer(path)


def write(folder, tokenizer, *, max_tokens=None, shard_tokens=700, vocab_size=512):
    splits = {
        "train": write_split(
            folder,
            "train",
            DOCUMENTS.iter_slices(40),
            tokenizer,
            max_tokens=max_tokens,
            shard_tokens=shard_tokens,
        ),
        "validation": write_split(
            folder, "validation", [DOCUMENTS.head(5)], tokenizer, max_tokens=None, shard_tokens=shard_tokens
        ),
    }
    return write_manifest(folder, splits, vocab_size=vocab_size)


def test_shards_hold_the_documents_in_order(tmp_path, tokenizer):
    manifest = write(tmp_path, tokenizer)
    expected = [index for ids in encode(tokenizer, DOCUMENTS["text"].to_list()) for index in ids]
    shards = TokenShards.open(tmp_path, verify=True)
    stream = shards.split("train")
    assert np.asarray(stream).tolist() == expected
    assert np.asarray(stream).dtype == np.uint16
    entry = manifest["splits"]["train"]
    assert entry["tokens"] == len(stream) == len(expected)
    assert [shard["tokens"] for shard in entry["shards"][:-1]] == [700] * (len(entry["shards"]) - 1)
    assert 0 < entry["shards"][-1]["tokens"] <= 700
    assert entry["text_bytes"] == DOCUMENTS["text"].str.len_bytes().sum()
    assert entry["bytes_per_token"] == entry["text_bytes"] / len(expected)


def test_document_index_points_at_the_document_starts(tmp_path, tokenizer):
    write(tmp_path, tokenizer)
    shards = TokenShards.open(tmp_path)
    stream, index = shards.split("train"), shards.documents("train")
    assert index.columns == ["doc_id", "start", "tokens", "domain", "package"]
    assert index["doc_id"].to_list() == DOCUMENTS["doc_id"].to_list()
    for start, tokens, text in zip(index["start"], index["tokens"], DOCUMENTS["text"], strict=True):
        ids = stream[start : start + tokens].tolist()
        assert ids[0] == BOS_ID
        assert tokenizer.decode(ids[1:]) == text


def test_fingerprint_follows_the_content(tmp_path, tokenizer):
    for name, limit in (("a", None), ("b", None), ("c", 1000)):
        write(tmp_path / name, tokenizer, max_tokens=limit)
    first, same, other = (TokenShards.open(tmp_path / name).sha256 for name in "abc")
    assert first == same != other


@given(st.lists(st.integers(0, 6), min_size=1, max_size=5), st.integers(-3, 30), st.integers(-3, 30))
def test_stream_slices_like_the_concatenation(sizes, start, stop):
    whole = np.arange(sum(sizes), dtype=np.uint16)
    stream = TokenStream(np.split(whole, np.cumsum(sizes)[:-1]))
    assert len(stream) == len(whole)
    assert stream[start:stop].tolist() == whole[start:stop].tolist()
    assert stream[start:stop].dtype == np.uint16


def test_stream_refuses_strides():
    with pytest.raises(ValueError, match="step 2"):
        TokenStream([np.arange(4, dtype=np.uint16)])[::2]


def test_missing_truncated_and_altered_shards_are_named(tmp_path, tokenizer):
    write(tmp_path, tokenizer)
    shard = tmp_path / "train-00001.bin"
    content = shard.read_bytes()
    shard.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    TokenShards.open(tmp_path)
    with pytest.raises(BadInput, match=r"train-00001\.bin: SHA-256"):
        TokenShards.open(tmp_path, verify=True)
    shard.write_bytes(content[:-2])
    with pytest.raises(BadInput, match=r"train-00001\.bin: 1398 bytes, manifest\.json says 1400"):
        TokenShards.open(tmp_path)
    shard.unlink()
    with pytest.raises(BadInput, match=r"train-00001\.bin: missing"):
        TokenShards.open(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "uint32"}, "dtype 'uint32' is not uint16"),
        ({"vocab_size": 65537}, "vocab_size 65537 does not fit"),
    ],
)
def test_foreign_dtype_and_vocabulary_are_refused(tmp_path, tokenizer, change, message):
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({**write(tmp_path, tokenizer), **change}))
    with pytest.raises(BadInput, match=message):
        TokenShards.open(tmp_path)


def test_incomplete_manifest_and_unknown_split(tmp_path, tokenizer):
    with pytest.raises(BadInput, match=r"manifest\.json: no such file"):
        TokenShards.open(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 1}')
    with pytest.raises(BadInput, match="lacks 'dtype'"):
        TokenShards.open(tmp_path)
    write(tmp_path, tokenizer)
    with pytest.raises(BadInput, match="split 'test' is none of"):
        TokenShards.open(tmp_path).split("test")
