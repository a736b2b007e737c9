from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moe_replication.routing import RoutingContext, RoutingState, expert_choice
from moe_replication.routing.types import target_load


def test_every_expert_takes_its_best_two_of_six(six, routing, training, tokens_of):
    selection = expert_choice.select(six, RoutingState.empty(3), routing("expert_choice"), training)
    # k = 6/3 = 2; token 4 goes nowhere, token 1 to two experts
    assert tokens_of(selection.mask_NE) == [[0, 2], [1, 5], [1, 3]]
    assert selection.cutoff_E.tolist() == pytest.approx([1.0, 1.2, 1.5])
    assert torch.equal(selection.gates_NE, six.sigmoid())


def test_pools_choose_by_themselves_and_cut_offs_are_averaged(six, routing, tokens_of):
    context = RoutingContext(training=True, pool_tokens=3)
    selection = expert_choice.select(six, RoutingState.empty(3), routing("expert_choice"), context)
    assert tokens_of(selection.mask_NE) == [[0, 4], [1, 5], [1, 3]]
    assert selection.batch_cutoff_E.tolist() == pytest.approx([(2.0 + 0.3) / 2, (3.0 + 1.2) / 2, (1.5 + 2.5) / 2])
    # what is shown of the cut-off is the first pool's own
    assert selection.cutoff_E.tolist() == pytest.approx([2.0, 3.0, 1.5])


def test_evaluation_passes_what_is_strictly_above_the_average_cut_off(six, routing, evaluation, tokens_of):
    state = RoutingState.empty(3)
    state.cutoff_E = torch.tensor([1.0, 1.2, 0.1])
    selection = expert_choice.select(six, state, routing("expert_choice"), evaluation)
    # logits equal to the cut-off (tokens 2, 5 and 4) stay out
    assert tokens_of(selection.mask_NE) == [[0], [1], [1, 2, 3, 5]]
    assert torch.equal(selection.cutoff_E, state.cutoff_E)


def test_choosing_has_no_gradient_but_the_gate_has(six, routing, training):
    logits = six.clone().requires_grad_()
    selection = expert_choice.select(logits, RoutingState.empty(3), routing("expert_choice"), training)
    assert not selection.cutoff_E.requires_grad
    selection.gates_NE.sum().backward()
    torch.testing.assert_close(logits.grad, six.sigmoid() * (1 - six.sigmoid()))


def test_tokens_that_do_not_fill_pools_are_refused(six, routing):
    context = RoutingContext(training=True, pool_tokens=4)
    with pytest.raises(ValueError, match="6 tokens of a forward pass do not split into pools of 4"):
        expert_choice.select(six, RoutingState.empty(3), routing("expert_choice"), context)


@pytest.mark.parametrize(
    ("tokens", "top_k", "experts", "expected"),
    [(8192, 1, 16, 512), (8192, 2, 16, 1024), (6, 1, 3, 2), (2, 1, 16, 1), (6, 3, 3, 6)],
)
def test_target_load_is_the_papers_k(routing, tokens, top_k, experts, expected):
    assert target_load(tokens, routing(top_k=top_k), experts) == expected


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pools=st.integers(1, 4), per_expert=st.integers(1, 5), experts=st.integers(1, 6), seed=st.integers(0, 99))
def test_load_is_exact_and_chosen_beat_unchosen(routing, pools, per_expert, experts, seed):
    size = per_expert * experts
    logits = torch.randn(pools * size, experts, generator=torch.Generator().manual_seed(seed))
    mask, cutoff = expert_choice.choose(logits, size, routing())
    by_pool = mask.view(pools, size, experts)
    assert (by_pool.sum(dim=1) == per_expert).all()
    lowest_in = logits.masked_fill(~mask, torch.inf).view(pools, size, experts).amin(dim=1)
    highest_out = logits.masked_fill(mask, -torch.inf).view(pools, size, experts).amax(dim=1)
    assert (lowest_in >= highest_out).all()
    assert torch.equal(cutoff, lowest_in)
