from __future__ import annotations

import pytest
import torch

from moe_replication.routing import RULES, RoutingContext, RoutingState
from moe_replication.routing.update import end_step, record_pass


def _step(state, passes, config, context, beta=0.9):
    for logits in passes:
        record_pass(state, RULES[config.rule](logits, state, config, context))
    end_step(state, config, beta)


@pytest.mark.parametrize("rule", ["expert_choice", "expert_threshold"])
@pytest.mark.parametrize("correction", [False, True])
def test_cut_off_follows_the_mean_over_passes_once_a_step(six, routing, training, rule, correction):
    config = routing(rule=rule, ema_bias_correction=correction)
    state = RoutingState.empty(3)
    first = torch.tensor([1.0, 1.2, 1.5])
    _step(state, [six, six + 1.0], config, training)
    torch.testing.assert_close(state.cutoff_E, (first + 0.5) * (1.0 if correction else 0.1))
    _step(state, [six], config, training)
    plain = 0.9 * 0.1 * (first + 0.5) + 0.1 * first
    torch.testing.assert_close(state.cutoff_E, plain / 0.19 if correction else plain)
    assert state.updates.item() == 2


def test_warm_up_and_threshold_passes_feed_the_same_average(six, routing):
    config, cold, warm = routing(rule="expert_threshold"), RoutingState.empty(3), RoutingState.empty(3)
    _step(cold, [six], config, RoutingContext(training=True, pool_tokens=6))
    _step(warm, [six], config, RoutingContext(training=True, pool_tokens=6, warming_up=True))
    assert torch.equal(cold.cutoff_E, warm.cutoff_E)


def test_loss_free_bias_sees_the_load_of_the_whole_step(routing):
    config, state = routing(balance="loss_free"), RoutingState.empty(2)
    context = RoutingContext(training=True, pool_tokens=4)
    right = torch.tensor([[0.0, 1.0]] * 4)
    left = torch.tensor([[1.0, 0.0]] * 4)
    _step(state, [left, left, right], config, context)
    # two thirds of the tokens on expert 0
    assert state.bias_E.tolist() == pytest.approx([-0.005, 0.005])
    assert state.cutoff_E.tolist() == [0.0, 0.0]


def test_token_choice_without_loss_free_learns_nothing(six, routing, training):
    state = RoutingState.empty(3)
    _step(state, [six], routing(), training)
    assert state.bias_E.tolist() == state.cutoff_E.tolist() == [0.0] * 3


def test_sums_are_emptied_and_recording_keeps_no_graph(six, routing, training):
    config, state = routing(rule="expert_threshold"), RoutingState.empty(3)
    logits = six.clone().requires_grad_()
    record_pass(state, RULES[config.rule](logits, state, config, training))
    assert state.passes == 1
    assert not state.cutoff_sum_E.requires_grad
    end_step(state, config, 0.9)
    assert state.passes == 0
    assert state.cutoff_sum_E.tolist() == state.load_sum_E.tolist() == [0.0] * 3


def test_state_survives_a_checkpoint(six, routing, training):
    config, state = routing(rule="expert_threshold", ema_bias_correction=True), RoutingState.empty(3)
    _step(state, [six], config, training)
    restored = RoutingState.empty(3)
    restored.load_state_dict(state.state_dict())
    kept = state.cutoff_E.clone()
    for one in (state, restored):
        _step(one, [six * 2], config, training)
    assert torch.equal(state.cutoff_E, restored.cutoff_E)
    assert not torch.equal(state.cutoff_E, kept)


def test_restoring_keeps_the_device_the_state_was_moved_to():
    """A checkpoint is read on the CPU; the state must stay beside the model."""
    state = RoutingState.empty(3)
    state.to(torch.device("meta"))
    state.load_state_dict(RoutingState.empty(3).state_dict())
    assert {state.cutoff_E.device.type, state.bias_E.device.type} == {"meta"}
