from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from moe_replication.models.gpt import GPT
from moe_replication.models.initialization import fill_normal
from moe_replication.routing import RoutingContext

LENGTH, CHANGED_FROM = 48, 29


def _run(config, training: bool, tokens: torch.Tensor, warming_up: bool = False):
    """Hidden states and per-layer masks of a model whose every weight is random."""
    config = replace(config, model=replace(config.model, layers=3), routing=replace(config.routing, capacity=0.0))
    model = GPT(config)
    for name, parameter in model.named_parameters():
        fill_normal(parameter, 0.2, 0, name)
    for index, layer in enumerate(model.moe_layers()):
        layer.state.cutoff_E = torch.linspace(-1.0, 2.0, config.moe.experts).roll(index)
        layer.state.bias_E = torch.linspace(-0.5, 0.5, config.moe.experts)
    context = RoutingContext(training=training, pool_tokens=tokens.numel(), warming_up=warming_up)
    with torch.no_grad():
        output = model(tokens, context)
    return output.hidden_BTD, [routed.selection.mask_NE.view(*tokens.shape, -1) for routed in output.routing]


def _before_and_after(config, training: bool, warming_up: bool = False):
    generator = torch.Generator().manual_seed(8)
    tokens = torch.randint(0, config.data.vocab_size, (2, LENGTH), generator=generator)
    changed = tokens.clone()
    changed[:, CHANGED_FROM:] = torch.randint(
        0, config.data.vocab_size, (2, LENGTH - CHANGED_FROM), generator=generator
    )
    return (_run(config, training, one, warming_up) for one in (tokens, changed))


@pytest.mark.parametrize(
    ("condition", "training"),
    [
        ("dense", True),
        ("tc", True),
        ("tc-aux", True),
        ("tc-loss-free", True),
        ("et", True),
        ("tc-loss-free", False),
        ("et", False),
        ("ec-batch", False),
        ("ec-sequence", False),
        ("l1", True),
        ("l1", False),
    ],
)
def test_the_future_changes_nothing_before_it(smoke, condition, training):
    (hidden, masks), (other_hidden, other_masks) = _before_and_after(smoke[condition], training)
    for mask, other in zip(masks, other_masks, strict=True):
        assert torch.equal(mask[:, :CHANGED_FROM], other[:, :CHANGED_FROM])
        assert not torch.equal(mask[:, CHANGED_FROM:], other[:, CHANGED_FROM:])
    torch.testing.assert_close(hidden[:, :CHANGED_FROM], other_hidden[:, :CHANGED_FROM], rtol=0, atol=1e-6)
    assert not torch.allclose(hidden[:, CHANGED_FROM:], other_hidden[:, CHANGED_FROM:])


@pytest.mark.parametrize(("condition", "warming_up"), [("ec-batch", False), ("et", True)])
def test_expert_choice_in_training_looks_ahead(smoke, condition, warming_up):
    """The negative control: the same change is seen by earlier tokens."""
    (hidden, masks), (other_hidden, other_masks) = _before_and_after(smoke[condition], True, warming_up)
    assert not torch.equal(masks[0][:, :CHANGED_FROM], other_masks[0][:, :CHANGED_FROM])
    assert not torch.allclose(hidden[:, :CHANGED_FROM], other_hidden[:, :CHANGED_FROM], atol=1e-3)
