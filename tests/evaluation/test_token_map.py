from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from moe_replication.data.tokenizer import encode, load_tokenizer, train_tokenizer
from moe_replication.evaluation.documents import pack
from moe_replication.evaluation.token_map import passages, text_pieces, token_map_rows

LETTERS = np.random.default_rng(0).choice(list("abcdefghij"), size=(150, 20, 3))
TEXTS = ["é routing: " + " ".join(map("".join, LETTERS[n])) for n in range(150)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    documents = pl.DataFrame({"doc_id": [str(n) for n in range(150)], "text": TEXTS})
    train_tokenizer(path, [documents], vocab_size=512, sample_megabytes=1)
    return load_tokenizer(path)


def test_pieces_join_to_the_text(tokenizer):
    text = "é routing: ∑ of 数学\n\tabc <|bos|> d"
    (ids,) = encode(tokenizer, [text])
    pieces = text_pieces(tokenizer, ids)
    assert len(pieces) == len(ids)
    assert pieces[0] == "<|bos|>"
    assert "".join(pieces[1:]) == text


def test_a_character_of_several_tokens_is_shown_by_the_last(tokenizer):
    (ids,) = encode(tokenizer, ["∑"])
    assert text_pieces(tokenizer, ids) == ["<|bos|>", "", "", "∑"]


def test_passages_are_the_first_long_documents(tokenizer):
    text = pack("code", [[0, 1], [0, 2, 3, 4, 5], [0, 6, 7], [0, 8, 9, 10]])
    found = passages(text, samples=2, tokens=3)
    assert [passage.ids.tolist() for passage in found] == [[0, 2, 3, 4], [0, 6, 7, 0]]
    assert [passage.ids.tolist() for passage in passages(text, 1, 99)] == [[0, 2, 3, 4, 5, 0]]
    assert len(passages(text, 99, 3)) == 4


def test_rows_hold_every_layer_and_their_total(deep, random_gpt, tokenizer):
    model = random_gpt(deep("et"))
    text = pack("math", encode(tokenizer, TEXTS[:3]))
    rows = token_map_rows(model, text, tokenizer, samples=2, tokens=12)
    assert len(rows) == 2 * 12 * 3
    for total, *layers in (rows[n : n + 3] for n in range(0, len(rows), 3)):
        assert (total["layer"], total["experts"]) == (None, None)
        assert [row["layer"] for row in layers] == [0, 1]
        assert total["fanout"] == sum(row["fanout"] for row in layers) == sum(len(row["experts"]) for row in layers)
        assert len({row["text"] for row in (total, *layers)}) == 1
    assert {row["sample"] for row in rows} == {0, 1}
    assert sum(row["fanout"] for row in rows) > 0
