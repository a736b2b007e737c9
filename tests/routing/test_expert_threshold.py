from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from moe_replication.routing import RoutingContext, RoutingState, expert_choice, expert_threshold
from moe_replication.routing.expert_threshold import next_cutoff


def _state(cutoffs: list[float]) -> RoutingState:
    state = RoutingState.empty(len(cutoffs))
    state.cutoff_E = torch.tensor(cutoffs)
    return state


def test_tokens_pass_every_cut_off_they_exceed(six, routing, evaluation, tokens_of):
    selection = expert_threshold.select(six, _state([0.5, 0.1, 0.8]), routing("expert_threshold"), evaluation)
    # token 1 equals expert 0's cut-off and stays out; no capacity limit outside training
    assert tokens_of(selection.mask_NE) == [[0, 2], [0, 1, 4, 5], [1, 2, 3]]
    assert torch.equal(selection.gates_NE, six.sigmoid())
    assert selection.saturation is None


def test_training_drops_the_lowest_and_pads_with_the_next_best(six, routing, training, tokens_of):
    selection = expert_threshold.select(six, _state([0.4, 0.1, 3.0]), routing("expert_threshold"), training)
    # k = 2, C = 0.5: 1 to 3 tokens. Raw: 3, 4 and 0 of them; expert 1 drops token 4, expert 2 gets token 3.
    assert tokens_of(selection.mask_NE) == [[0, 1, 2], [0, 1, 5], [3]]
    assert selection.saturation.item() == pytest.approx(1 / 7)
    assert selection.starvation.item() == pytest.approx(1 / 3)


def test_selection_uses_the_cut_off_from_before_the_batch_and_leaves_it(six, routing, training):
    state = _state([0.4, 0.1, 0.8])
    selection = expert_threshold.select(six, state, routing("expert_threshold"), training)
    assert selection.cutoff_E.tolist() == pytest.approx([0.4, 0.1, 0.8])
    assert state.cutoff_E.tolist() == pytest.approx([0.4, 0.1, 0.8])


@pytest.mark.parametrize("pool", [3, 6])
def test_warm_up_is_expert_choice_without_capacity(six, routing, pool):
    context = RoutingContext(training=True, pool_tokens=pool, warming_up=True)
    state = _state([9.0, 9.0, 9.0])
    warm = expert_threshold.select(six, state, routing("expert_threshold"), context)
    choice = expert_choice.select(six, state, routing("expert_threshold"), context)
    assert torch.equal(warm.mask_NE, choice.mask_NE)
    assert torch.equal(warm.cutoff_E, choice.cutoff_E)
    evaluated = expert_threshold.select(six, state, routing("expert_threshold"), replace(context, training=False))
    assert not evaluated.mask_NE.any()


@pytest.mark.parametrize("capacity", [0.0, 0.25, 0.5, 1.0])
def test_batch_cut_off_is_the_kth_largest_logit(six, routing, training, capacity):
    for top_k, expected in ((1, [1.0, 1.2, 1.5]), (2, [0.3, 0.2, 0.7])):
        config = routing("expert_threshold", top_k=top_k, capacity=capacity)
        selection = expert_threshold.select(six, _state([9.0, 9.0, 9.0]), config, training)
        assert selection.batch_cutoff_E.tolist() == pytest.approx(expected)


def test_released_code_lets_a_token_at_the_cut_off_pass(six, routing, evaluation, tokens_of):
    config = routing("expert_threshold", comparison="greater_equal")
    selection = expert_threshold.select(six, _state([0.5, 0.2, 0.9]), config, evaluation)
    assert tokens_of(selection.mask_NE) == [[0, 1, 2], [0, 1, 4, 5], [1, 2, 3]]


def test_fallback_takes_the_expert_that_is_missed_by_least(six, routing, training, evaluation, tokens_of):
    state = _state([1.5, 1.4, 1.0])
    plain = expert_threshold.select(six, state, routing("expert_threshold"), evaluation)
    # 2 misses by .5, 2.4, .1; 4 by 1.2, 1.2 (1.2000 against 1.1999...), .9; 5 by 2, .2, .3
    assert tokens_of(plain.mask_NE) == [[0], [1], [1, 3]]
    config = routing("expert_threshold", fallback=True)
    selection = expert_threshold.select(six, state, config, evaluation)
    assert tokens_of(selection.mask_NE) == [[0], [1, 5], [1, 2, 3, 4]]
    # k = 2, C = 0.5 allows 3 tokens; the fallback comes on top
    trained = expert_threshold.select(six, state, config, training)
    assert tokens_of(trained.mask_NE) == [[0], [1, 5], [1, 2, 3, 4]]
    assert trained.raw_usage_E.tolist() == pytest.approx([1 / 6, 1 / 6, 2 / 6])


def test_fallback_is_not_for_a_token_that_passed_and_was_dropped_by_capacity(six, routing, training, tokens_of):
    # expert 1: 0, 1, 4, 5 pass its cut-off and 3 may stay, so 4 goes, which passes no other
    config = routing("expert_threshold", fallback=True)
    selection = expert_threshold.select(six, _state([0.4, 0.1, 0.8]), config, training)
    assert tokens_of(selection.mask_NE) == [[0, 1, 2], [0, 1, 5], [1, 2, 3]]


def test_normalisation_divides_the_gate_by_the_fan_out(six, routing, evaluation):
    config = routing("expert_threshold", normalize_fanout=True)
    selection = expert_threshold.select(six, _state([0.4, 0.1, 0.8]), config, evaluation)
    # tokens 0 to 5 go to 2, 3, 2, 1, 1, 1 experts
    fan_out = torch.tensor([2.0, 3.0, 2.0, 1.0, 1.0, 1.0])
    torch.testing.assert_close(selection.gates_NE, six.sigmoid() / fan_out[:, None])


def test_without_a_shared_expert_two_of_sixteen_are_the_target(routing):
    logits = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    context = RoutingContext(training=True, pool_tokens=64)
    config = routing("expert_threshold", top_k=2, capacity=0.0)
    selection = expert_threshold.select(logits, RoutingState.empty(16), config, context)
    assert torch.equal(selection.batch_cutoff_E, logits.topk(8, dim=0).values[-1])


def test_raw_usage_is_that_before_capacity(six, routing, training):
    selection = expert_threshold.select(six, _state([0.4, 0.1, 3.0]), routing("expert_threshold"), training)
    assert selection.raw_usage_E.tolist() == pytest.approx([3 / 6, 4 / 6, 0.0])


def test_plain_average_starts_from_zero():
    batches = torch.tensor([[1.0], [3.0], [2.0]])
    cutoff, seen = torch.zeros(1), []
    for updates, batch in enumerate(batches):
        cutoff = next_cutoff(cutoff, batch, updates, 0.9, False)
        seen.append(cutoff.item())
    # .1*1; .9*.1 + .1*3; .9*.39 + .1*2
    assert seen == pytest.approx([0.1, 0.39, 0.551])


def test_bias_correction_divides_by_one_minus_beta_to_the_t():
    batches = torch.tensor([[1.0], [3.0], [2.0]])
    cutoff, seen = torch.zeros(1), []
    for updates, batch in enumerate(batches):
        cutoff = next_cutoff(cutoff, batch, updates, 0.9, True)
        seen.append(cutoff.item())
    assert seen == pytest.approx([0.1 / 0.1, 0.39 / 0.19, 0.551 / 0.271], rel=1e-6)


@pytest.mark.parametrize("correction", [False, True])
def test_without_memory_the_average_is_the_batch(correction):
    assert next_cutoff(torch.ones(1), torch.tensor([5.0]), 0, 0.0, correction).item() == 5.0
    assert next_cutoff(torch.ones(1), torch.tensor([5.0]), 7, 0.0, correction).item() == 5.0
