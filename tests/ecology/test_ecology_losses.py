from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.autograd import gradcheck

from moe_replication.ecology.losses import (
    RoutingLosses,
    balance_loss,
    divergence_loss,
    oracle_loss,
    orthogonality_loss,
    routing_entropy,
)

LN2, LN3 = math.log(2), math.log(3)


def _logits(samples: int = 5, experts: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(samples, experts, generator=generator, dtype=torch.float64, requires_grad=True)


def test_entropy_on_paper():
    probabilities = torch.tensor([[0.5, 0.5], [1.0, 0.0], [0.75, 0.25]])
    expected = (LN2 + 0.0 + 2 * LN2 - 0.75 * LN3) / 3
    assert routing_entropy(probabilities).item() == pytest.approx(expected)
    assert routing_entropy(torch.full((3, 16), 1 / 16)).item() == pytest.approx(math.log(16))


def test_oracle_is_cross_entropy_to_the_expert_of_lowest_loss():
    # softmax at T = 2: (3/4, 1/4) and (1/4, 3/4); the best experts are 1 and 1
    logits = torch.tensor([[2 * LN3, 0.0], [0.0, 2 * LN3]])
    losses_EN = torch.tensor([[2.0, 5.0], [1.0, 4.0]])
    assert oracle_loss(logits, 2.0, losses_EN).item() == pytest.approx((math.log(4) + math.log(4 / 3)) / 2)


def test_oracle_teaches_the_router_and_not_the_experts():
    logits, losses_EN = _logits(), torch.rand(4, 5, requires_grad=True)
    oracle_loss(logits, 2.0, losses_EN).backward()
    assert losses_EN.grad is None
    target = torch.nn.functional.one_hot(losses_EN.argmin(dim=0), 4)
    torch.testing.assert_close(logits.grad, ((logits / 2).softmax(-1) - target).detach() / (2 * 5))


def test_balance_on_paper():
    probabilities = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    gates = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    # mean (3/4, 1/4) against 1/2 each; mass (1.5, .5) relative to 1
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5) + 0.25
    assert balance_loss(probabilities, gates).item() == pytest.approx(expected)


def test_balance_is_zero_for_even_routing_and_largest_for_one_expert():
    even = torch.eye(4).repeat(3, 1)
    assert balance_loss(even, even).item() == pytest.approx(0.0, abs=1e-7)
    single = torch.eye(4)[:1].repeat(12, 1)
    # KL = ln 4; relative mass (4, 0, 0, 0) has variance 3
    assert balance_loss(single, single).item() == pytest.approx(math.log(4) + 3)


def test_orthogonality_on_paper():
    # unit rows (1,0), (0,1), (1,1)/sqrt 2: squared cosines 0, 1/2, 1/2
    assert orthogonality_loss(torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])).item() == pytest.approx(1 / 3)
    assert orthogonality_loss(torch.tensor([[5.0, 0.0], [-2.0, 0.0]])).item() == pytest.approx(1.0)


def test_divergence_on_paper():
    outputs_END = torch.tensor([[[1.0], [1.0]], [[1.0], [0.0]]])
    assert divergence_loss(outputs_END).item() == pytest.approx(0.5)


@pytest.mark.parametrize("scale", [0.1, 7.0])
def test_angles_ignore_the_length_of_prototypes(scale):
    prototypes = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    factors = torch.tensor([[scale], [1.0], [2.0], [1.0]])
    torch.testing.assert_close(orthogonality_loss(prototypes * factors), orthogonality_loss(prototypes))


@pytest.mark.parametrize(
    "loss",
    [
        lambda z: routing_entropy(z.softmax(-1)),
        lambda z: oracle_loss(z, 0.7, torch.arange(20.0).view(5, 4).T.cos()),
        lambda z: balance_loss(z.softmax(-1), z.softmax(-1) * (z > z.mean())),
    ],
    ids=["entropy", "oracle", "balance"],
)
def test_gradients(loss):
    assert gradcheck(loss, (_logits(),))


@pytest.mark.parametrize(("loss", "shape"), [(orthogonality_loss, (4, 6)), (divergence_loss, (3, 5, 2))])
def test_gradients_of_angles_by_central_differences(loss, shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(2)).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x), x)
    direction = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    step = 1e-2
    difference = (loss(x + step * direction) - loss(x - step * direction)).item() / (2 * step)
    assert (gradient * direction).sum().item() == pytest.approx(difference, rel=0.01, abs=1e-4)


@pytest.mark.parametrize("loss", [routing_entropy, lambda p: balance_loss(p, p)], ids=["entropy", "balance"])
def test_gradients_stay_finite_when_a_probability_underflows(loss):
    """exp(-200) is 0 in float32; a run that collapses must show it and not turn into NaN."""
    logits = torch.tensor([[200.0, 0.0, 0.0]] * 2, requires_grad=True)
    value = loss(logits.softmax(-1))
    assert torch.isfinite(value)
    (gradient,) = torch.autograd.grad(value, logits)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(("sign", "entropy"), [(1, -0.15), (-1, 0.15)])
def test_weights_and_the_sign_of_entropy(smoke, sign, entropy):
    weights = {"entropy_weight": 0.15, "oracle_weight": 0.2, "balance_weight": 0.40}
    weights |= {"ortho_weight": 0.05, "divergence_weight": 0.07}
    config = replace(smoke["v6"].ecology, entropy_sign=sign, **weights)
    one = torch.tensor(1.0)
    weighted = RoutingLosses(entropy=one, oracle=one, balance=one, ortho=one, divergence=one).weighted(config)
    expected = {"entropy": entropy, "oracle": 0.2, "balance": 0.40, "ortho": 0.05, "divergence": 0.07}
    assert {name: value.item() for name, value in weighted.items()} == pytest.approx(expected)
