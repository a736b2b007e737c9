from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_replication.data.tokenizer import BOS, BOS_ID, encode, load_tokenizer, train_tokenizer
from moe_replication.errors import BadInput

LETTERS = np.random.default_rng(0).choice(list("abcdefghij"), size=(400, 20, 3))
WORDS = pl.DataFrame(
    {
        "doc_id": [f"{n:03d}" for n in range(400)],
        "text": [f"the expert number {n} routes " + " ".join(map("".join, row)) for n, row in enumerate(LETTERS)],
    }
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    train_tokenizer(path, [WORDS], vocab_size=512, sample_megabytes=1)
    return path


@pytest.fixture(scope="module")
def tokenizer(path):
    return load_tokenizer(path)


@given(text=st.text(max_size=80))
def test_any_text_round_trips(tokenizer, text):
    (ids,) = encode(tokenizer, [text])
    assert ids[0] == BOS_ID
    assert tokenizer.decode(ids[1:], skip_special_tokens=False) == text


def test_vocabulary_and_merges(tokenizer):
    assert tokenizer.get_vocab_size() == 512
    assert tokenizer.token_to_id(BOS) == BOS_ID == 0
    # A frequent word is one token, an unseen one several.
    assert len(encode(tokenizer, [" expert"])[0]) == 2
    assert len(encode(tokenizer, [" zebra"])[0]) > 2


def test_marker_written_in_a_text_is_plain_characters(tokenizer):
    (ids,) = encode(tokenizer, [f"a {BOS} b"])
    assert ids.count(BOS_ID) == 1
    assert tokenizer.decode(ids[1:], skip_special_tokens=False) == f"a {BOS} b"


def test_deterministic(tmp_path, path):
    info = train_tokenizer(tmp_path / "again.json", WORDS.iter_slices(150), vocab_size=512, sample_megabytes=1)
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    assert info["sample_documents"] == 400
    assert info["sample_bytes"] == WORDS["text"].str.len_bytes().sum()


def test_sample_takes_whole_documents_up_to_the_first_that_reaches_it(tmp_path):
    half = WORDS["text"].str.len_bytes().head(200).sum() / 1e6
    info = train_tokenizer(tmp_path / "t.json", [WORDS], vocab_size=512, sample_megabytes=half)
    assert info["sample_documents"] == 200
    info = train_tokenizer(tmp_path / "t.json", [WORDS], vocab_size=512, sample_megabytes=half + 1e-6)
    assert info["sample_documents"] == 201


def test_sample_asks_for_no_batch_beyond_it(tmp_path):
    batches = WORDS.iter_slices(100)
    train_tokenizer(
        tmp_path / "t.json",
        batches,
        vocab_size=512,
        sample_megabytes=WORDS["text"].str.len_bytes().head(150).sum() / 1e6,
    )
    assert sum(batch.height for batch in batches) == 200


@pytest.mark.parametrize(
    ("vocab_size", "megabytes", "message"),
    [
        (511, 1, "data.vocab_size: 511"),
        (65537, 1, "data.vocab_size: 65537"),
        (512, 0, "data.tokenizer_megabytes: 0"),
        (60000, 1, "fills only .* of 60000"),
    ],
)
def test_bad_settings(tmp_path, vocab_size, megabytes, message):
    with pytest.raises(BadInput, match=message):
        train_tokenizer(tmp_path / "t.json", [WORDS], vocab_size=vocab_size, sample_megabytes=megabytes)
    assert not (tmp_path / "t.json").exists()


def test_missing_truncated_and_foreign_files(tmp_path, path):
    with pytest.raises(BadInput, match=r"absent\.json: no such file"):
        load_tokenizer(tmp_path / "absent.json")
    text = path.read_text(encoding="utf-8")
    (tmp_path / "cut.json").write_text(text[: len(text) // 2], encoding="utf-8")
    with pytest.raises(BadInput, match=r"cut\.json: not a tokenizer"):
        load_tokenizer(tmp_path / "cut.json")
    (tmp_path / "foreign.json").write_text(text.replace(BOS, "<|other|>"), encoding="utf-8")
    with pytest.raises(BadInput, match=r"foreign\.json: .* must have id 0"):
        load_tokenizer(tmp_path / "foreign.json")
