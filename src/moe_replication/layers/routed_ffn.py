"""Feed-forward arithmetic with its backward pass written out: down(relu(up(x))^2), for all tokens and for routed ones.

Autograd would keep the hidden units before and after the square and every expert's output, and copy the experts'
weight gradients into their stack. Here the hidden units are kept once, the rest follows from them, and every product
is written where it belongs.
Legend: N tokens, D model width, O output width, H hidden width, E experts, A assignments sorted by expert.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


class SquaredReluFFN(torch.autograd.Function):
    """x_ND, up_HD, down_OH -> (N, O)."""

    @staticmethod
    def forward(ctx: FunctionCtx, x_ND: Tensor, up_HD: Tensor, down_OH: Tensor) -> Tensor:
        """Keeps the input and relu(up(x))."""
        h_NH = (x_ND @ up_HD.t()).relu_()
        ctx.save_for_backward(x_ND, up_HD, down_OH, h_NH)
        return h_NH.square() @ down_OH.t()

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, dy_NO: Tensor) -> tuple[Tensor, ...]:
        """Gradients of the input and both weights."""
        x_ND, up_HD, down_OH, h_NH = ctx.saved_tensors
        ddown_OH = dy_NO.t() @ h_NH.square()
        du_NH = (dy_NO @ down_OH).mul_(h_NH).mul_(2)
        return du_NH @ up_HD, du_NH.t() @ x_ND, ddown_OH


class RoutedFFN(torch.autograd.Function):
    """x_ND, up_EHD, down_EOH, gates_A, tokens_A, counts by expert -> sum of gate * expert(x), (N, O) in x's dtype.

    Gates weigh in float32. The weight gradients of an expert without assignments are exactly zero.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, x_ND: Tensor, up_EHD: Tensor, down_EOH: Tensor, gates_A: Tensor, tokens_A: Tensor,
        counts: list[int],
    ) -> Tensor:  # fmt: skip
        """Keeps relu(up(x)) of every assignment beside its inputs."""
        x_AD = x_ND.index_select(0, tokens_A)
        h_AH = x_AD.new_empty(len(x_AD), up_EHD.shape[1])
        y_AO = x_AD.new_empty(len(x_AD), down_EOH.shape[1])
        for expert, rows in _busy(counts):
            h = torch.mm(x_AD[rows], up_EHD[expert].t(), out=h_AH[rows]).relu_()
            torch.mm(h.square(), down_EOH[expert].t(), out=y_AO[rows])
        ctx.save_for_backward(x_ND, up_EHD, down_EOH, gates_A, tokens_A, h_AH)
        ctx.counts = counts
        weighted_AO = (y_AO.float() * gates_A.unsqueeze(1)).to(y_AO.dtype)
        return y_AO.new_zeros(len(x_ND), y_AO.shape[1]).index_add_(0, tokens_A, weighted_AO)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, dy_NO: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the input, both stacks and the gates."""
        x_ND, up_EHD, down_EOH, gates_A, tokens_A, h_AH = ctx.saved_tensors
        x_AD, dy_AO = x_ND.index_select(0, tokens_A), dy_NO.index_select(0, tokens_A)
        weighted_AO = (dy_AO.float() * gates_A.unsqueeze(1)).to(dy_AO.dtype)
        twice_A1 = 2 * gates_A.unsqueeze(1)
        dx_AD, dgates_A = torch.empty_like(x_AD), torch.empty_like(gates_A)
        dup_EHD, ddown_EOH = torch.zeros_like(up_EHD), torch.zeros_like(down_EOH)
        for expert, rows in _busy(ctx.counts):
            h, squared = h_AH[rows], h_AH[rows].square()
            d = dy_AO[rows] @ down_EOH[expert]
            # <dy, down s> = <down^T dy, s>: the expert's output need not be kept for its gate's gradient.
            torch.sum(d.float() * squared, dim=1, out=dgates_A[rows])
            ddown_EOH[expert] = weighted_AO[rows].t() @ squared
            du = (d.float() * twice_A1[rows]).to(d.dtype).mul_(h)
            dup_EHD[expert] = du.t() @ x_AD[rows]
            torch.mm(du, up_EHD[expert], out=dx_AD[rows])
        return torch.zeros_like(x_ND).index_add_(0, tokens_A, dx_AD), dup_EHD, ddown_EOH, dgates_A, None, None


def _busy(counts: list[int]) -> Iterator[tuple[int, slice]]:
    """Every expert that has assignments, and their rows."""
    first = 0
    for expert, count in enumerate(counts):
        if count:
            yield expert, slice(first, first + count)
        first += count
