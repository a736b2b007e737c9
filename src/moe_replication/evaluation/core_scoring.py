"""Losses of many options at once: rows padded into batches, logits for the scored positions only.

Legend: B rows of a batch, T positions, D model width, K scored tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from moe_replication.data.tokenizer import BOS_ID
from moe_replication.evaluation.checkpoints import causal_context
from moe_replication.evaluation.core_prompts import ScoredTokens
from moe_replication.models.gpt import GPT


class Span(NamedTuple):
    """Scored tokens of one option: the row's positions from `first` on predict `targets_K`."""

    option: int
    first: int
    targets_K: np.ndarray
    cropped: bool


@dataclass(kw_only=True)
class Row:
    """What the model reads once, and every option of an example that is scored on it."""

    example: int
    tokens_T: np.ndarray
    spans: list[Span] = field(default_factory=list)


class OptionScore(NamedTuple):
    """Mean loss per scored token in nats, and whether each of these tokens is the most likely one."""

    loss: float
    exact: bool


def example_rows(example: int, options: Sequence[ScoredTokens]) -> list[Row]:
    """Rows of one example. No last token is read, so options that differ in it alone share a row."""
    rows: dict[bytes, Row] = {}
    for number, option in enumerate(options):
        tokens_T = np.asarray(option.tokens[:-1], dtype=np.int32)
        row = rows.setdefault(tokens_T.tobytes(), Row(example=example, tokens_T=tokens_T))
        targets_K = np.asarray(option.tokens[option.start :], dtype=np.int64)
        row.spans.append(Span(number, option.start - 1, targets_K, option.cropped))
    return list(rows.values())


def batches(rows: Sequence[Row], budget: int) -> Iterator[list[Row]]:
    """Rows from the longest to the shortest, at most `budget` tokens a batch with the padding counted."""
    batch: list[Row] = []
    for row in sorted(rows, key=lambda row: -len(row.tokens_T)):
        if batch and (len(batch) + 1) * len(batch[0].tokens_T) > budget:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


@torch.no_grad()
def score_batch(
    model: GPT, rows: Sequence[Row], device: torch.device, trunk: AbstractContextManager
) -> list[list[OptionScore]]:
    """Scores of every row's spans; `trunk` is the precision of all below the logits, which are float32.

    Rows are padded at the end, where neither causal attention nor the routing of each token by itself lets the
    padding reach them. Logits exist for scored positions only, and a chunk at a time.
    """
    longest = max(len(row.tokens_T) for row in rows)
    tokens_BT = np.full((len(rows), longest), BOS_ID, dtype=np.int64)
    for index, row in enumerate(rows):
        tokens_BT[index, : len(row.tokens_T)] = row.tokens_T
    spans = [(index, span) for index, row in enumerate(rows) for span in row.spans]
    sizes = [len(span.targets_K) for _, span in spans]
    # Places in the flattened batch.
    places_K = np.concatenate([index * longest + span.first + np.arange(len(span.targets_K)) for index, span in spans])
    targets_K = np.concatenate([span.targets_K for _, span in spans])
    with trunk:
        hidden_BTD = model(torch.from_numpy(tokens_BT).to(device), causal_context(tokens_BT.size)).hidden_BTD
    hidden_KD = hidden_BTD.flatten(0, 1)[torch.from_numpy(places_K).to(device)].float()
    losses_K, exact_K = _token_scores(model, hidden_KD, torch.from_numpy(targets_K).to(device))
    pieces = zip(losses_K.split(sizes), exact_K.split(sizes), strict=True)
    # In float64 the mean of equal losses is that loss whatever their number, so that equal options stay equal.
    scores = (OptionScore(losses.double().mean().item(), bool(exact.all())) for losses, exact in pieces)
    return [[next(scores) for _ in row.spans] for row in rows]


def _token_scores(model: GPT, hidden_KD: Tensor, targets_K: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of every target in nats, and whether it is the most likely token; on the CPU."""
    losses, exact = [], []
    size = model.loss_chunk_tokens
    for hidden, targets in zip(hidden_KD.split(size), targets_K.split(size), strict=True):
        logits = model.logits(hidden)
        losses.append(F.cross_entropy(logits, targets, reduction="none"))
        exact.append(logits.argmax(dim=-1) == targets)
    return torch.cat(losses).cpu(), torch.cat(exact).cpu()
