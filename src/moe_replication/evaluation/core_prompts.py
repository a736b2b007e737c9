"""From an example of CORE to the tokens that a model is scored on.

The order of examples, the draw of few shots and the text of a prompt are those of the published scorer (nanochat's,
after DCLM's): solved examples, each followed by a blank line, then the question. Positions are found by comparing the
token sequences of an example's prompts, because a tokenizer may join the end of a question with its answer.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from moe_replication.evaluation.core_bundle import CoreTask


@dataclass(frozen=True, kw_only=True)
class ScoredTokens:
    """One prompt, `<|bos|>` first, of which the tokens from `start` on are scored."""

    tokens: list[int]
    start: int
    cropped: bool = False


def ordered(items: Sequence[dict], seed: int) -> list[dict]:
    """A task's examples in the order in which they count as example 0, 1, ..."""
    items = list(items)
    random.Random(seed).shuffle(items)
    return items


def few_shots(items: Sequence[dict], index: int, count: int, seed: int) -> list[dict]:
    """`count` examples other than number `index`, drawn with `seed` + index."""
    # Places among the others: those from `index` on belong to the next example.
    places = random.Random(seed + index).sample(range(len(items) - 1), count)
    return [items[place + (place >= index)] for place in places]


def prompts(task: CoreTask, item: dict, shots: Iterable[dict]) -> list[str]:
    """One text an option; for language modelling the question alone and the question with its answer."""
    solved = "".join(f"{_question(task, shot)}{task.delimiter}{_answer(task, shot)}\n\n" for shot in shots)
    if task.kind == "multiple_choice":
        return [f"{solved}{item['query']}{task.delimiter}{choice}" for choice in item["choices"]]
    if task.kind == "schema":
        return [f"{solved}{context}{task.delimiter}{item['continuation']}" for context in item["context_options"]]
    question = f"{solved}{_question(task, item)}{task.delimiter}"
    # A blank at the end of the question alone would be a token of its own, but part of the answer's first one.
    return [question.strip(), question + item["continuation"]]


def scored_options(kind: str, encoded: list[list[int]], window: int | None) -> list[ScoredTokens]:
    """What is scored of an example's encoded prompts, cropped where there is a `window`: one entry an option.

    Multiple choice: what follows the common start. Schema: the common end. Language modelling: what follows
    the question. At least one token of an option is scored, never the first.
    """
    if kind == "schema":
        shortest = min(map(len, encoded))
        length = min(max(_common(tokens[::-1] for tokens in encoded), 1), shortest - 1)
        located = [(tokens, len(tokens) - length) for tokens in encoded]
    else:
        start = _common(encoded)
        scored = encoded if kind == "multiple_choice" else encoded[1:]
        located = [(tokens, min(start, len(tokens) - 1)) for tokens in scored]
    return [crop(tokens, start, window) for tokens, start in located]


def crop(tokens: list[int], start: int, window: int | None) -> ScoredTokens:
    """The last tokens that fit into `window` behind the first one, which stays (nanochat drops it); all for None.

    Of an answer longer than the window, what is left of it is scored.
    """
    surplus = 0 if window is None else max(len(tokens) - window, 0)
    kept = [tokens[0], *tokens[1 + surplus :]]
    return ScoredTokens(tokens=kept, start=max(start - surplus, 1), cropped=surplus > 0)


def _question(task: CoreTask, item: dict) -> str:
    if task.kind == "schema":
        return item["context_options"][item["gold"]]
    return item["query"] if task.kind == "multiple_choice" else item["context"].strip()


def _answer(task: CoreTask, item: dict) -> str:
    return item["choices"][item["gold"]] if task.kind == "multiple_choice" else item["continuation"]


def _common(sequences: Iterable[list[int]]) -> int:
    """Number of tokens that all sequences begin with: as many as the first and the last in lexical order share."""
    sequences = list(sequences)
    first, last = min(sequences), max(sequences)
    differing = (place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
    return next(differing, min(len(first), len(last)))
