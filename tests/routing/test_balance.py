from __future__ import annotations

import pytest
import torch

from moe_replication.routing import RoutingState
from moe_replication.routing.balance import auxiliary_loss, loss_free_bias, pooled_load

MASK = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]]).bool()
LOAD = torch.tensor([[3, 2, 1]]) / 6


def test_auxiliary_loss_on_paper():
    gates = torch.tensor([0.2, 0.4, 0.6]).repeat(6, 1)
    # f = (3/6) * (3, 2, 1) = (1.5, 1, .5)
    assert auxiliary_loss(LOAD, gates).item() == pytest.approx(1.5 * 0.2 + 0.4 + 0.5 * 0.6)


def test_only_the_mean_gate_has_a_gradient():
    gates = torch.rand(6, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    auxiliary_loss(LOAD, gates).backward()
    torch.testing.assert_close(gates.grad, (torch.tensor([1.5, 1.0, 0.5]) / 6).repeat(6, 1))


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_bias_of_busy_experts_falls_and_of_idle_ones_rises(scale):
    bias = torch.tensor([0.1, 0.0, 0.0, -0.1])
    load = scale * torch.tensor([0.5, 0.25, 0.25, 0.0])
    moved = loss_free_bias(bias, load, 0.005)
    assert moved.tolist() == pytest.approx([0.095, 0.0, 0.0, -0.095])
    assert bias.tolist() == pytest.approx([0.1, 0.0, 0.0, -0.1])


def test_bias_is_finite_without_any_load():
    assert torch.isfinite(loss_free_bias(torch.zeros(3), torch.zeros(3), 0.005)).all()


def test_load_of_a_process_is_that_of_its_pass():
    state = RoutingState.empty(3)
    state.load_sum_E, state.passes = torch.tensor([0.0, 0.0, 1.0]), 1
    torch.testing.assert_close(pooled_load(MASK, state, "process"), LOAD)


def test_load_of_the_batch_counts_the_passes_of_the_step_so_far():
    state = RoutingState.empty(3)
    torch.testing.assert_close(pooled_load(MASK, state, "batch"), LOAD)
    state.load_sum_E, state.passes = torch.tensor([0.0, 0.0, 1.0]), 1
    torch.testing.assert_close(pooled_load(MASK, state, "batch"), torch.tensor([[3 / 12, 2 / 12, 7 / 12]]))


def test_smaller_pools_have_losses_of_their_own():
    """Pools of three tokens: loads (2, 1, 0)/3 and (1, 1, 1)/3, mean gates .2 and .4 of each expert."""
    load = pooled_load(MASK, RoutingState.empty(3), 3)
    torch.testing.assert_close(load, torch.tensor([[2, 1, 0], [1, 1, 1]]) / 3)
    gates = torch.tensor([0.2] * 3 + [0.4] * 3)[:, None] * torch.tensor([1.0, 0.5, 2.0])
    # f = (2, 1, 0) and (1, 1, 1)
    first, second = 0.2 * (2 * 1.0 + 1 * 0.5), 0.4 * (1.0 + 0.5 + 2.0)
    assert auxiliary_loss(load, gates).item() == pytest.approx((first + second) / 2)
