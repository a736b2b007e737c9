"""Output head, soft-cap and mean cross-entropy in one, gradients taken on the way forward.

A chunk of logits is made, used and let go once; autograd would make every chunk a second time in the backward pass.
Legend: N tokens, D model width, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


class HeadLoss(torch.autograd.Function):
    """hidden_ND, head_VD, targets_N, soft-cap (0 for none), tokens of a chunk -> mean loss in nats, float32."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, cap: float, chunk: int
    ) -> Tensor:
        """Keeps the gradients of the mean loss, in the dtypes of hidden states and head."""
        dhidden_ND = torch.empty_like(hidden_ND)
        dhead_VD = torch.zeros_like(head_VD, dtype=torch.float32)
        total = torch.zeros((), device=hidden_ND.device)
        for first in range(0, len(hidden_ND), chunk):
            rows = slice(first, first + chunk)
            losses, dlogits_NV = _losses(hidden_ND[rows] @ head_VD.t(), targets_N[rows], cap)
            total += losses.sum()
            dlogits_NV = dlogits_NV.div_(len(hidden_ND)).to(head_VD.dtype)
            torch.mm(dlogits_NV, head_VD, out=dhidden_ND[rows])
            dhead_VD += dlogits_NV.t() @ hidden_ND[rows]
        ctx.save_for_backward(dhidden_ND, dhead_VD.to(head_VD.dtype))
        return total / len(hidden_ND)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The kept gradients times that of the mean loss."""
        dhidden_ND, dhead_VD = ctx.saved_tensors
        return dhidden_ND * gradient, dhead_VD * gradient, None, None, None


def _losses(products_NV: Tensor, targets_N: Tensor, cap: float) -> tuple[Tensor, Tensor]:
    """Losses of tokens, and their gradients in the products of hidden states and head, both float32."""
    logits_NV, slope_NV = products_NV.float(), None
    if cap:
        bent_NV = logits_NV.div_(cap).tanh_()
        logits_NV = bent_NV * cap
        slope_NV = bent_NV.square_().neg_().add_(1)
    targets_N1 = targets_N.unsqueeze(1)
    chosen_N1, largest_N1 = logits_NV.gather(1, targets_N1), logits_NV.amax(dim=1, keepdim=True)
    shares_NV = logits_NV.sub_(largest_N1).exp_()
    sums_N1 = shares_NV.sum(dim=1, keepdim=True)
    losses_N = (sums_N1.log() + largest_N1 - chosen_N1).squeeze(1)
    dlogits_NV = shares_NV.div_(sums_N1)
    dlogits_NV.scatter_add_(1, targets_N1, torch.full_like(chosen_N1, -1.0))
    return losses_N, dlogits_NV if slope_NV is None else dlogits_NV.mul_(slope_NV)
