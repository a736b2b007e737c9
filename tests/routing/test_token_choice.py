from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moe_replication.routing import RoutingContext, RoutingState, token_choice


@pytest.mark.parametrize(
    ("top_k", "expected"),
    [
        (1, [[0, 2, 4], [1, 5], [3]]),
        (2, [[0, 2, 4], [0, 1, 3, 4, 5], [1, 2, 3, 5]]),
        (3, [list(range(6))] * 3),
    ],
)
def test_every_token_takes_its_highest_logits(six, routing, training, tokens_of, top_k, expected):
    selection = token_choice.select(six, RoutingState.empty(3), routing(top_k=top_k), training)
    assert tokens_of(selection.mask_NE) == expected
    assert torch.equal(selection.gates_NE, six.sigmoid())
    assert selection.cutoff_E is None
    assert selection.aux_loss is None


def test_loss_free_bias_moves_the_choice_and_not_the_gate(six, routing, training, tokens_of):
    state = RoutingState.empty(3)
    state.bias_E = torch.tensor([-1.0, 0.0, 1.0])
    selection = token_choice.select(six, state, routing(balance="loss_free"), training)
    # r + b: (1, 1, 1) is a tie; (-.5, 3, 2.5), (0, -1, 1.9), (-3, 0, 3.5), (-.7, .2, 1.1), (-1.5, 1.2, 1.7)
    assert tokens_of(selection.mask_NE[1:]) == [[], [0], [1, 2, 3, 4]]
    assert torch.equal(selection.gates_NE, six.sigmoid())
    unbiased = token_choice.select(six, state, routing(balance="none"), training)
    assert tokens_of(unbiased.mask_NE) == [[0, 2, 4], [1, 5], [3]]


def test_loss_free_bias_also_acts_in_evaluation(six, routing, training, evaluation):
    state = RoutingState.empty(3)
    state.bias_E = torch.tensor([-1.5, 0.0, 1.0])
    config = routing(balance="loss_free")
    trained, evaluated = (token_choice.select(six, state, config, c).mask_NE for c in (training, evaluation))
    assert torch.equal(trained, evaluated)


def test_auxiliary_loss_is_weighted_and_belongs_to_training(six, routing, training, evaluation):
    config = routing(balance="aux", aux_weight=0.1)
    gates = six.sigmoid().mean(dim=0)
    # f = (E/N) * load = (3/6) * (3, 2, 1)
    expected = 0.1 * (1.5 * gates[0] + 1.0 * gates[1] + 0.5 * gates[2])
    selection = token_choice.select(six, RoutingState.empty(3), config, training)
    torch.testing.assert_close(selection.aux_loss, expected)
    assert token_choice.select(six, RoutingState.empty(3), config, evaluation).aux_loss is None


def test_auxiliary_loss_counts_load_relative_to_the_target_at_any_fan_out(routing, training):
    """Paper A: f_i = (E/N) * tokens on i with G*E experts, so a balanced router has f_i = 1 for every G."""
    logits = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    config = routing(balance="aux", aux_weight=1.0, top_k=2)
    selection = token_choice.select(logits, RoutingState.empty(4), config, training)
    torch.testing.assert_close(selection.aux_loss, logits.sigmoid().mean(dim=0).sum())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tokens=st.integers(1, 40), experts=st.integers(1, 9), seed=st.integers(0, 99), data=st.data())
def test_fan_out_is_top_k_and_tokens_are_independent(routing, tokens, experts, seed, data):
    top_k = data.draw(st.integers(1, experts))
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(tokens, experts, generator=generator)
    order = torch.randperm(tokens, generator=generator)
    context = RoutingContext(training=True, pool_tokens=tokens)
    state, config = RoutingState.empty(experts), routing(top_k=top_k)
    mask = token_choice.select(logits, state, config, context).mask_NE
    assert (mask.sum(dim=1) == top_k).all()
    assert torch.equal(token_choice.select(logits[order], state, config, context).mask_NE, mask[order])
