from __future__ import annotations

from dataclasses import asdict

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moe_replication.data.manifest import ids_sha256
from moe_replication.data.shard_writer import OtherDocuments, write_manifest, write_split
from moe_replication.data.shards import TokenShards
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


class Interrupted(Exception):
    pass


class Counting:
    """A tokenizer that counts the texts it encodes."""

    def __init__(self, tokenizer):
        self.encoded = 0
        self.tokenizer = tokenizer
        self.id_to_token, self.get_vocab_size = tokenizer.id_to_token, tokenizer.get_vocab_size

    def encode_batch_fast(self, texts, add_special_tokens):
        self.encoded += len(texts)
        return self.tokenizer.encode_batch_fast(texts, add_special_tokens=add_special_tokens)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    train_tokenizer(path, [DOCUMENTS], vocab_size=512, sample_megabytes=1)
    return load_tokenizer(path)


def write(folder, tokenizer, batches=(DOCUMENTS,), *, split="train", max_tokens=None, shard_tokens=700, **options):
    return write_split(folder, split, batches, tokenizer, max_tokens=max_tokens, shard_tokens=shard_tokens, **options)


def interrupted(folder, tokenizer, after, **options):
    """Whole shards of a split whose writing stopped when `after` of them were whole."""
    whole = []

    def save():
        if len(whole) == after:
            raise Interrupted

    with pytest.raises(Interrupted):
        write(folder, tokenizer, whole=whole, save=save, **options)
    return whole


def contents(folder):
    """Final files by name."""
    files = [*folder.glob("*.bin"), *folder.glob("documents-train.parquet")]
    return {path.name: path.read_bytes() for path in files}


def test_limit_is_met_exactly_and_recorded(tmp_path, tokenizer):
    entry = write(tmp_path, tokenizer, max_tokens=1000)
    write_manifest(tmp_path, {"train": entry}, vocab_size=512)
    assert entry["tokens"] == entry["max_tokens"] == 1000
    shards = TokenShards.open(tmp_path, verify=True)
    documents = shards.documents("train")
    assert entry["documents"] == documents.height < 150
    assert entry["doc_ids_sha256"] == ids_sha256(DOCUMENTS["doc_id"].head(documents.height))
    assert len(shards.split("train")) == documents["tokens"].sum() == 1000
    ids = [index for index in np.asarray(shards.split("train")).tolist() if index != BOS_ID]
    assert entry["text_bytes"] == sum(len(tokenizer.id_to_token(index)) for index in ids)


def test_documents_beyond_the_limit_are_not_encoded(tmp_path, tokenizer):
    counting = Counting(tokenizer)
    batches = iter([DOCUMENTS, DOCUMENTS])
    write(tmp_path, counting, batches, max_tokens=10)
    assert counting.encoded == 64
    assert next(batches).height == 150


def test_split_without_documents_is_named(tmp_path, tokenizer):
    with pytest.raises(BadInput, match="the validation split has no document"):
        write(tmp_path, tokenizer, [], split="validation")


def test_batches_make_no_difference(tmp_path, tokenizer):
    one = write(tmp_path / "one", tokenizer, max_tokens=2000)
    assert write(tmp_path / "many", tokenizer, DOCUMENTS.iter_slices(7), max_tokens=2000) == one


def test_processes_make_no_difference(tmp_path, tokenizer):
    one = write(tmp_path / "one", tokenizer, DOCUMENTS.iter_slices(9), max_tokens=4000)
    assert write(tmp_path / "two", tokenizer, DOCUMENTS.iter_slices(9), max_tokens=4000, workers=2) == one
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_fewer_shards_than_before_leave_no_stale_file(tmp_path, tokenizer):
    write(tmp_path, tokenizer)
    write(tmp_path, tokenizer, shard_tokens=10**6)
    names = ["documents-train-00000.parquet", "documents-train.parquet", "train-00000.bin"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_whole_shards_are_counted_to_their_ends(tmp_path, tokenizer):
    whole = interrupted(tmp_path, tokenizer, 3)
    lengths = np.cumsum([len(ids) for ids in encode(tokenizer, DOCUMENTS["text"].to_list())])
    spelled = np.concatenate(encode(tokenizer, DOCUMENTS["text"].to_list()))
    for number, item in enumerate(whole, 1):
        ended = int((lengths <= 700 * number).sum())
        assert (item.documents, item.document_tokens) == (ended, lengths[ended - 1])
        ids = [index for index in spelled[: 700 * number].tolist() if index != BOS_ID]
        assert item.text_bytes == sum(len(tokenizer.id_to_token(index)) for index in ids)
        assert set(asdict(item)["shard"]) == {"file", "bytes", "sha256", "tokens"}


# Shards of 13 tokens: most documents go over several of them.
@pytest.mark.parametrize(("shard_tokens", "max_tokens"), [(700, None), (700, 2100), (13, 400), (64, 401)])
def test_an_interrupted_split_ends_with_the_same_files(tmp_path, tokenizer, shard_tokens, max_tokens):
    options = {"shard_tokens": shard_tokens, "max_tokens": max_tokens}
    expected = write(tmp_path / "whole", tokenizer, **options)
    count = expected["tokens"] // shard_tokens
    for after in sorted({1, 2, count // 2, count} - {0}):
        folder = tmp_path / str(after)
        whole = interrupted(folder, tokenizer, after, **options)
        # What a kill leaves behind: the shard after the last recorded one, unfinished.
        (folder / f"train-{after:05d}.bin").write_bytes(b"half")
        assert write(folder, tokenizer, DOCUMENTS.iter_slices(7), whole=whole, **options) == expected
        assert contents(folder) == contents(tmp_path / "whole")


def test_documents_of_whole_shards_are_not_encoded_again(tmp_path, tokenizer):
    whole = interrupted(tmp_path, tokenizer, 3)
    counting = Counting(tokenizer)
    write(tmp_path, counting, whole=whole)
    assert counting.encoded == 150 - whole[2].documents


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 70), st.integers(0, 70))
def test_a_source_with_other_documents_is_refused(tmp_path_factory, tokenizer, one, other):
    folder = tmp_path_factory.mktemp("other")
    whole = interrupted(folder, tokenizer, 3)
    order = np.arange(150)
    order[[one, other]] = order[[other, one]]
    if one == other or min(one, other) >= whole[-1].documents:
        write(folder, tokenizer, [DOCUMENTS[order]], whole=whole)
    else:
        with pytest.raises(OtherDocuments):
            write(folder, tokenizer, [DOCUMENTS[order]], whole=whole)


def test_a_shorter_source_is_refused(tmp_path, tokenizer):
    whole = interrupted(tmp_path, tokenizer, 3)
    with pytest.raises(OtherDocuments):
        write(tmp_path, tokenizer, [DOCUMENTS.head(whole[-1].documents - 1)], whole=whole)
