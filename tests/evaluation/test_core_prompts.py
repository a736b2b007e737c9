"""Few-shot prompts of CORE, and which of their tokens are scored."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_bundles import ITEMS, byte_tokenizer
from moe_replication.data.tokenizer import encode
from moe_replication.evaluation.core_bundle import CoreTask
from moe_replication.evaluation.core_prompts import crop, few_shots, ordered, prompts, scored_options

BOS = 0


def task(kind, delimiter):
    return CoreTask(name="t", kind=kind, shots=2, delimiter=delimiter, baseline=25.0, items=())


def options(kind, texts, window=100):
    """Scored text of every option, read back from the byte tokens."""
    tokenizer = byte_tokenizer()
    found = scored_options(kind, encode(tokenizer, texts), window)
    return [tokenizer.decode(option.tokens[option.start :]) for option in found]


def test_multiple_choice_prompt():
    questions = [
        {"query": "Question: ice is", "choices": ["hot", "cold"], "gold": 1},
        {"query": "Question: fire is", "choices": ["hot", "cold"], "gold": 0},
        {"query": "Question: snow is", "choices": ["black", "white"], "gold": 1},
    ]
    assert prompts(task("multiple_choice", "\nAnswer: "), questions[2], questions[:2]) == [
        "Question: ice is\nAnswer: cold\n\nQuestion: fire is\nAnswer: hot\n\nQuestion: snow is\nAnswer: black",
        "Question: ice is\nAnswer: cold\n\nQuestion: fire is\nAnswer: hot\n\nQuestion: snow is\nAnswer: white",
    ]


def test_schema_prompt():
    shot = {"context_options": ["The cup", "The bag"], "continuation": "was full.", "gold": 1}
    item = {"context_options": ["Ann, because Ann", "Ann, because Eve"], "continuation": "was late.", "gold": 0}
    assert prompts(task("schema", " "), item, [shot]) == [
        "The bag was full.\n\nAnn, because Ann was late.",
        "The bag was full.\n\nAnn, because Eve was late.",
    ]


def test_language_modeling_prompt_trims_the_question():
    shot = {"context": " One plus one is \n", "continuation": "two"}
    item = {"context": "Two plus one is  ", "continuation": "three "}
    assert prompts(task("language_modeling", " "), item, [shot]) == [
        "One plus one is two\n\nTwo plus one is",
        "One plus one is two\n\nTwo plus one is three ",
    ]


def test_prompts_without_shots():
    assert prompts(task("multiple_choice", " "), ITEMS["order"][0], []) == ["next ab", "next ax"]


def test_scored_part_of_multiple_choice_follows_the_common_start():
    assert options("multiple_choice", ["it is late", "it is long ago"]) == ["ate", "ong ago"]


def test_scored_part_of_a_schema_is_the_common_end():
    assert options("schema", ["the cat sat.", "a bat sat."]) == ["at sat.", "at sat."]


def test_scored_part_of_language_modeling_follows_the_question():
    assert options("language_modeling", ["1, 2,", "1, 2, 3"]) == [" 3"]


def test_something_of_every_option_is_scored():
    assert options("multiple_choice", ["yes", "yes sir"]) == ["s", " sir"]
    assert options("multiple_choice", ["same", "same"]) == ["e", "e"]
    assert options("schema", ["b", "ab"]) == ["b", "b"]
    assert options("schema", ["ax", "by"]) == ["x", "y"]


def test_a_tokenizer_that_joins_question_and_answer():
    """Tokens: "a" 1, "b" 2, "ab" 3. The joined token cannot be read off the question, so all of it is scored."""
    (scored,) = scored_options("language_modeling", [[BOS, 2, 1], [BOS, 2, 3, 2]], window=10)
    assert (scored.tokens, scored.start) == ([BOS, 2, 3, 2], 2)


def test_crop_keeps_the_first_token_and_the_end():
    tokens = [BOS, 11, 12, 13, 14, 15]
    assert crop(tokens, 4, 6) == crop(tokens, 4, 99) == crop(tokens, 4, None)
    assert [crop(tokens, 4, window).cropped for window in (5, 6, None)] == [True, False, False]
    assert (crop(tokens, 4, 6).tokens, crop(tokens, 4, 6).start) == (tokens, 4)
    assert (crop(tokens, 4, 4).tokens, crop(tokens, 4, 4).start) == ([BOS, 13, 14, 15], 2)
    # The answer alone is longer than the window: what is left of it is scored, and never the first token.
    assert (crop(tokens, 2, 3).tokens, crop(tokens, 2, 3).start) == ([BOS, 14, 15], 1)


@pytest.mark.parametrize("window", [2, 5, 8, 40])
def test_cropped_options_hold_the_end_of_the_prompt(window):
    texts = ["a long question, short: yes", "a long question, short: no"]
    for option, text in zip(
        scored_options("multiple_choice", encode(byte_tokenizer(), texts), window), texts, strict=True
    ):
        assert len(option.tokens) == min(window, len(text) + 1)
        assert option.tokens[0] == BOS
        assert text.endswith(byte_tokenizer().decode(option.tokens[1:]))


def test_order_of_examples_is_pinned():
    assert ordered([0, 1, 2, 3, 4, 5], 1337) == [1, 0, 3, 2, 5, 4]
    assert [few_shots(list("abcdef"), index, 2, 1234) for index in (0, 5)] == [["e", "b"], ["a", "c"]]


@given(st.integers(2, 60), st.data())
def test_shots_are_drawn_from_the_other_examples(count, data):
    """The draw equals one from the list of the others, which the published scorer builds for every example."""
    index = data.draw(st.integers(0, count - 1))
    shots = data.draw(st.integers(0, count - 1))
    items = [{"place": place} for place in range(count)]
    found = few_shots(items, index, shots, 1234)
    others = [item for item in items if item["place"] != index]
    assert found == random.Random(1234 + index).sample(others, shots)
    assert items[index] not in found
