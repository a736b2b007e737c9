"""Nothing that a token becomes depends on later tokens, except under expert choice in training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from moe_replication.models.gpt import GPT
from moe_replication.routing import RoutingContext

LENGTH, CHANGED_FROM = 48, 29


@pytest.fixture
def build(smoke, random_model):
    """build(condition, capacity): a random model; the capacity limit acts in training alone, and on whole pools."""

    def make(condition: str, capacity: float = 0.0) -> GPT:
        config = smoke[condition]
        return random_model(replace(config, routing=replace(config.routing, capacity=capacity, balance_pool="process")))

    return make


def _two_texts(vocab_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two batches (2, T) that differ from CHANGED_FROM on."""
    generator = torch.Generator().manual_seed(8)
    tokens = torch.randint(0, vocab_size, (2, LENGTH), generator=generator)
    changed = tokens.clone()
    changed[:, CHANGED_FROM:] = torch.randint(0, vocab_size, (2, LENGTH - CHANGED_FROM), generator=generator)
    return tokens, changed


def _run(model: GPT, tokens: torch.Tensor, training: bool, warming_up: bool = False):
    """Hidden states (B, T, D), and of every MoE layer the mask and the gates (B, T, E)."""
    context = RoutingContext(training=training, pool_tokens=tokens.numel(), warming_up=warming_up)
    with torch.no_grad():
        output = model(tokens, context)
    masks = [routed.selection.mask_NE.view(*tokens.shape, -1) for routed in output.routing]
    gates = [routed.selection.gates_NE.view(*tokens.shape, -1) for routed in output.routing]
    return output.hidden_BTD, masks, gates


def _assert_causal(model: GPT, training: bool) -> None:
    texts = _two_texts(len(model.embedding))
    (hidden, masks, gates), (other_hidden, other_masks, other_gates) = (_run(model, text, training) for text in texts)
    past, future = slice(0, CHANGED_FROM), slice(CHANGED_FROM, None)
    for mask, other in zip(masks, other_masks, strict=True):
        assert torch.equal(mask[:, past], other[:, past])
        assert not torch.equal(mask[:, future], other[:, future])
    # Last digits: an expert's product sums in another order when it has other rows.
    for gate, other in zip(gates, other_gates, strict=True):
        torch.testing.assert_close(gate[:, past], other[:, past], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(hidden[:, past], other_hidden[:, past], rtol=1e-6, atol=1e-6)
    assert not torch.allclose(hidden[:, future], other_hidden[:, future])


@pytest.mark.parametrize(
    ("condition", "training"),
    [
        ("dense", True),
        ("tc", True),
        ("tc-aux", True),
        ("tc-loss-free", True),
        ("et", True),
        ("et-fallback", True),
        ("et-normalized", True),
        ("tc-loss-free", False),
        ("et", False),
        ("et-fallback", False),
        ("et-released", False),
        ("et-concat", False),
        ("ec-batch", False),
        ("ec-sequence", False),
        ("l1", True),
        ("l1", False),
    ],
)
def test_the_future_changes_nothing_before_it(build, condition, training):
    _assert_causal(build(condition), training)


@pytest.mark.parametrize(("condition", "warming_up"), [("ec-batch", False), ("et", True)])
def test_expert_choice_in_training_looks_ahead(build, condition, warming_up):
    """The negative control: the same change is seen by earlier tokens."""
    model = build(condition)
    texts = _two_texts(len(model.embedding))
    (hidden, masks, _), (other_hidden, other_masks, _) = (_run(model, text, True, warming_up) for text in texts)
    assert not torch.equal(masks[0][:, :CHANGED_FROM], other_masks[0][:, :CHANGED_FROM])
    assert not torch.allclose(hidden[:, :CHANGED_FROM], other_hidden[:, :CHANGED_FROM], atol=1e-3)


def test_the_capacity_limit_looks_ahead_in_training(build):
    """Which surplus is dropped depends on the whole pool: expert threshold trains causally only within the limits."""
    model = build("et", capacity=0.5)
    texts = _two_texts(len(model.embedding))
    masks, other_masks = (_run(model, text, training=True)[1][0] for text in texts)
    assert not torch.equal(masks[:, :CHANGED_FROM], other_masks[:, :CHANGED_FROM])


def test_expert_choice_is_causal_with_the_average_that_its_training_tracked(build):
    model = build("ec-batch")
    tokens, _ = _two_texts(len(model.embedding))
    with torch.no_grad():
        trained = model(tokens, RoutingContext(training=True, pool_tokens=tokens.numel()))
    for layer, routed in zip(model.moe_layers(), trained.routing, strict=True):
        layer.state.cutoff_E = routed.selection.cutoff_E
    _assert_causal(model, training=False)
    _, masks, _ = _run(model, tokens, training=False)
    # k tokens of every expert in training; r > c leaves out the one whose logit is the cut-off.
    assert trained.routing[0].selection.mask_NE.sum() - masks[0].shape[-1] == masks[0].sum() > 0
