from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from moe_replication.routing import RoutingContext, RoutingState, expert_choice, expert_threshold
from moe_replication.routing.expert_threshold import batch_cutoff, next_cutoff


def _state(cutoffs: list[float]) -> RoutingState:
    state = RoutingState.empty(len(cutoffs))
    state.cutoff_E = torch.tensor(cutoffs)
    return state


def test_tokens_pass_every_cut_off_they_exceed(six, routing, evaluation, tokens_of):
    selection = expert_threshold.select(six, _state([0.5, 0.1, 0.8]), routing(), evaluation)
    # token 1 equals expert 0's cut-off and stays out; no capacity limit outside training
    assert tokens_of(selection.mask_NE) == [[0, 2], [0, 1, 4, 5], [1, 2, 3]]
    assert torch.equal(selection.gates_NE, six.sigmoid())
    assert selection.saturation is None


def test_training_drops_the_lowest_and_pads_with_the_next_best(six, routing, training, tokens_of):
    selection = expert_threshold.select(six, _state([0.4, 0.1, 3.0]), routing(), training)
    # k = 2, C = 0.5: 1 to 3 tokens. Raw: 3, 4 and 0 of them; expert 1 drops token 4, expert 2 gets token 3.
    assert tokens_of(selection.mask_NE) == [[0, 1, 2], [0, 1, 5], [3]]
    assert selection.saturation.item() == pytest.approx(1 / 7)
    assert selection.starvation.item() == pytest.approx(1 / 3)


def test_selection_uses_the_cut_off_from_before_the_batch_and_leaves_it(six, routing, training):
    state = _state([0.4, 0.1, 0.8])
    selection = expert_threshold.select(six, state, routing(), training)
    assert selection.cutoff_E.tolist() == pytest.approx([0.4, 0.1, 0.8])
    assert state.cutoff_E.tolist() == pytest.approx([0.4, 0.1, 0.8])


@pytest.mark.parametrize("pool", [3, 6])
def test_warm_up_is_expert_choice_without_capacity(six, routing, pool):
    context = RoutingContext(training=True, pool_tokens=pool, warming_up=True)
    state = _state([9.0, 9.0, 9.0])
    warm = expert_threshold.select(six, state, routing(), context)
    choice = expert_choice.select(six, state, routing(), context)
    assert torch.equal(warm.mask_NE, choice.mask_NE)
    assert torch.equal(warm.cutoff_E, choice.cutoff_E)
    evaluated = expert_threshold.select(six, state, routing(), replace(context, training=False))
    assert not evaluated.mask_NE.any()


def test_batch_cut_off_is_the_kth_largest_logit(six, routing):
    assert batch_cutoff(six, routing()).tolist() == pytest.approx([1.0, 1.2, 1.5])
    assert batch_cutoff(six, routing(top_k=2)).tolist() == pytest.approx([0.3, 0.2, 0.7])


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
