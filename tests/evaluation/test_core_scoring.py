"""Batches of options: known losses, padding that changes nothing, logits for scored positions only."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from core_bundles import HIT, MISS, NextByteModel, byte_tokenizer
from moe_replication.data.tokenizer import encode
from moe_replication.evaluation.core_prompts import ScoredTokens
from moe_replication.evaluation.core_scoring import batches, example_rows, score_batch
from moe_replication.models.gpt import GPT

CPU = torch.device("cpu")


def rows_of(*texts, start):
    encoded = encode(byte_tokenizer(), list(texts))
    return [
        row for i, tokens in enumerate(encoded) for row in example_rows(i, [ScoredTokens(tokens=tokens, start=start)])
    ]


def score(model, rows):
    return [scores for (scores,) in score_batch(model, rows, CPU, nullcontext())]


def test_known_losses():
    model = NextByteModel()
    # Scored from the third token on: c and d follow; x does not, y follows x.
    found = score(model, rows_of("abcd", "abxy", "bab", start=3))
    assert [s.loss for s in found] == pytest.approx([HIT, (MISS + HIT) / 2, HIT])
    assert [s.exact for s in found] == [True, False, True]


def test_logits_only_of_scored_positions_and_in_chunks():
    model = NextByteModel()
    score(model, rows_of("abcdefgh", "ab", "abcd", start=2))
    assert sum(model.chunks) == 7 + 1 + 3
    assert max(model.chunks) <= model.loss_chunk_tokens
    assert model.batches == [(3, 8)]


def test_options_that_differ_in_their_last_token_share_a_row():
    options = [ScoredTokens(tokens=[0, 5, 6, last], start=3) for last in (7, 9)]
    options.append(ScoredTokens(tokens=[0, 5, 6, 7, 8], start=3))
    rows = example_rows(4, options)
    assert [row.tokens_T.tolist() for row in rows] == [[0, 5, 6], [0, 5, 6, 7]]
    assert [[span.option for span in row.spans] for row in rows] == [[0, 1], [2]]
    scores = score_batch(NextByteModel(), rows, CPU, nullcontext())
    assert [len(row) for row in scores] == [2, 1]
    assert [s.loss for row in scores for s in row] == pytest.approx([HIT, MISS, HIT])


def test_batches_are_sorted_and_within_the_budget():
    rows = rows_of(*("x" * length for length in (3, 9, 1, 7, 7, 30, 2)), start=1)
    made = list(batches(rows, budget=16))
    lengths = [[len(row.tokens_T) for row in batch] for batch in made]
    # The longest is beyond the budget and a batch of its own; a row has as many tokens as its text has bytes.
    assert lengths == [[30], [9], [7, 7], [3, 2, 1]]
    assert sorted(row.example for batch in made for row in batch) == list(range(7))


@pytest.fixture(params=["dense", "tc-aux", "tc-loss-free", "ec-sequence", "ec-batch", "et"])
def gpt(request, smoke):
    """A random model of a condition, with cut-offs that about half of the logits pass."""
    config = smoke[request.param]
    model = GPT(config)
    generator = torch.Generator().manual_seed(7)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2, generator=generator)
    for layer in model.moe_layers():
        experts = len(layer.state.cutoff_E)
        layer.state.cutoff_E = torch.randn(experts, generator=generator)
        layer.state.bias_E = torch.randn(experts, generator=generator)
    return model.eval()


def random_rows(vocabulary):
    generator = np.random.default_rng(3)
    rows = []
    for example, length in enumerate((40, 3, 17, 17, 2, 29)):
        tokens = [0, *generator.integers(1, vocabulary, length).tolist()]
        rows += example_rows(example, [ScoredTokens(tokens=tokens, start=1 + length // 2)])
    return rows


def test_batched_equals_one_by_one(gpt):
    rows = random_rows(len(gpt.embedding))
    together = score(gpt, rows)
    alone = [score(gpt, [row])[0] for row in rows]
    assert [s.loss for s in together] == pytest.approx([s.loss for s in alone], abs=1e-5)
    assert [s.exact for s in together] == [s.exact for s in alone]
    # Real differences between rows, so that equality says something.
    assert np.std([s.loss for s in alone]) > 0.01


def test_losses_are_those_of_the_whole_forward_pass(gpt):
    """Against the model's own loss at every position, of which the scored ones are picked afterwards."""
    from moe_replication.evaluation.checkpoints import causal_context

    for row, found in zip(random_rows(len(gpt.embedding)), score(gpt, random_rows(len(gpt.embedding))), strict=True):
        (span,) = row.spans
        tokens = torch.tensor([[*row.tokens_T.tolist(), int(span.targets_K[-1])]])
        with torch.no_grad():
            hidden = gpt(tokens[:, :-1], causal_context(tokens.shape[1] - 1)).hidden_BTD
            losses = gpt.token_losses(hidden, tokens[:, 1:])
        assert found.loss == pytest.approx(losses[span.first :].mean().item(), abs=1e-5)


def test_scoring_leaves_the_routing_state_alone(gpt):
    before = [{name: value.clone() for name, value in layer.state.state_dict().items()} for layer in gpt.moe_layers()]
    score(gpt, random_rows(len(gpt.embedding)))
    for layer, kept in zip(gpt.moe_layers(), before, strict=True):
        assert all(torch.equal(value, kept[name]) for name, value in layer.state.state_dict().items())


def test_bfloat16_below_the_logits_is_close(gpt):
    rows = random_rows(len(gpt.embedding))
    exact = np.array([s.loss for s in score(gpt, rows)])
    half = score_batch(gpt, rows, CPU, torch.autocast("cpu", torch.bfloat16))
    close = np.array([s.loss for (s,) in half])
    assert np.abs(close - exact).max() < 0.5
    assert not np.array_equal(close, exact)
