"""The loss with its gradients taken on the way forward, against autograd over all logits."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from moe_replication.layers.head_loss import HeadLoss

TOKENS, WIDTH, VOCABULARY = 13, 6, 11


def _inputs(dtype: torch.dtype, scale: float = 2.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    hidden = (scale * torch.randn(TOKENS, WIDTH)).to(dtype).requires_grad_()
    head = torch.randn(VOCABULARY, WIDTH).to(dtype).requires_grad_()
    return hidden, head, torch.randint(0, VOCABULARY, (TOKENS,))


def _plain(hidden: torch.Tensor, head: torch.Tensor, targets: torch.Tensor, cap: float) -> torch.Tensor:
    logits = (hidden @ head.t()).float()
    return F.cross_entropy(cap * torch.tanh(logits / cap) if cap else logits, targets)


def test_loss_and_gradients_on_paper():
    """Logits 0 and ln 3, the first is the target: shares 1/4 and 3/4, loss ln 4, gradient (-3/4, 3/4)."""
    hidden, head = torch.tensor([[math.log(3.0)]]).requires_grad_(), torch.tensor([[0.0], [1.0]]).requires_grad_()
    loss = HeadLoss.apply(hidden, head, torch.tensor([0]), 0.0, 4)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(4.0))
    torch.testing.assert_close(hidden.grad, torch.tensor([[0.75]]))
    torch.testing.assert_close(head.grad, math.log(3.0) * torch.tensor([[-0.75], [0.75]]))


@pytest.mark.parametrize("cap", [0.0, 1.5, 15.0])
@pytest.mark.parametrize("chunk", [1, 5, TOKENS, 4096])
def test_equals_autograd_with_gradients(cap, chunk):
    hidden, head, targets = _inputs(torch.float64)
    hidden, head = hidden.float().detach().requires_grad_(), head.float().detach().requires_grad_()
    found, expected = HeadLoss.apply(hidden, head, targets, cap, chunk), _plain(hidden, head, targets, cap)
    torch.testing.assert_close(found, expected)
    gradients = (torch.autograd.grad(3.0 * loss, (hidden, head)) for loss in (found, expected))
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other)


def test_bfloat16_loss_is_float32_and_its_gradients_are_no_worse_than_autograds():
    hidden, head, targets = _inputs(torch.bfloat16)
    exact = [t.detach().double().requires_grad_() for t in (hidden, head)]
    truth = torch.autograd.grad(_plain(*exact, targets, 15.0), exact)
    loss = HeadLoss.apply(hidden, head, targets, 15.0, 4)
    assert loss.dtype == torch.float32
    mine = torch.autograd.grad(loss, (hidden, head))
    other = torch.autograd.grad(_plain(hidden, head, targets, 15.0), (hidden, head))
    for found, plain, right in zip(mine, other, truth, strict=True):
        assert found.dtype == torch.bfloat16
        assert (found - right).norm() <= 1.5 * (plain - right).norm() + 1e-6


def test_large_logits_do_not_overflow():
    hidden, head, targets = _inputs(torch.float32, scale=1e4)
    found = HeadLoss.apply(hidden, head, targets, 0.0, 4)
    torch.testing.assert_close(found, _plain(hidden, head, targets, 0.0))
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(found, (hidden, head)))


def test_a_second_derivative_is_refused():
    hidden, head, targets = _inputs(torch.float32)
    (first,) = torch.autograd.grad(HeadLoss.apply(hidden, head, targets, 15.0, 4), hidden, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        first.sum().backward()


def test_a_loss_that_is_no_number_stays_one():
    hidden, head, targets = _inputs(torch.float32)
    broken = hidden.detach().clone()
    broken[3, 2] = math.nan
    assert HeadLoss.apply(broken, head, targets, 15.0, 4).isnan()
