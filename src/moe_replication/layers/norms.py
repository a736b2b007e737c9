"""RMSNorm without weights, and rotary positions with QK norm, their backward passes written out.

On a CPU torch puts RMSNorm together from products and sums, and autograd as many again; written out each direction
reads its numbers twice. Everything is computed in float32 and returned in the input's dtype.
Legend: B sequences, T positions, H heads, K head width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

EPSILON = torch.finfo(torch.float32).eps  # torch's default for float32


def rms_norm(x: Tensor) -> Tensor:
    """RMSNorm without weights, over the last dimension."""
    if x.is_cuda:  # one kernel there
        return F.rms_norm(x, (x.shape[-1],), eps=EPSILON)
    return _RMSNorm.apply(x)


def rotated_norm(x_BTHK: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
    """Each head's pairs (first half, second half) turned by the position's angles, then RMS-normalised; (B, T, H, K).

    `cos_TK` and `sin_TK` hold K/2 columns, float32.
    """
    return _RotatedNorm.apply(x_BTHK, cos_TK.unsqueeze(1), sin_TK.unsqueeze(1))


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        """Keeps the input and a scale a row."""
        scale = _scale(x)
        ctx.save_for_backward(x, scale)
        return (x.float() * scale).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, dy: Tensor) -> Tensor:
        """Scale * dy, less its part along x."""
        x, scale = ctx.saved_tensors
        x32, dy32 = x.float(), dy.float()
        along = torch.linalg.vecdot(dy32, x32).unsqueeze(-1) * scale.pow(3).div_(-x.shape[-1])
        return (dy32 * scale).addcmul_(x32, along).to(x.dtype)


class _RotatedNorm(torch.autograd.Function):
    """A turn leaves the norm as it is, so the scale comes from the input and the turn from the scaled numbers."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Keeps the output and a scale a row."""
        scale = _scale(x)
        y = _turned(x.float(), cos, sin, 1).mul_(scale).to(x.dtype)
        ctx.save_for_backward(y, scale, cos, sin)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, dy: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient less its part along the output, scaled and turned back."""
        y, scale, cos, sin = ctx.saved_tensors
        y32, dy32 = y.float(), dy.float()
        along = torch.linalg.vecdot(dy32, y32).unsqueeze(-1).div_(-y.shape[-1])
        return _turned(torch.addcmul(dy32, y32, along).mul_(scale), cos, sin, -1).to(y.dtype), None, None


def _scale(x: Tensor) -> Tensor:
    """1 / root mean square of every row, float32, last dimension 1."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return norm.square_().div_(x.shape[-1]).add_(EPSILON).rsqrt_()


def _turned(x: Tensor, cos: Tensor, sin: Tensor, direction: int) -> Tensor:
    """(first cos + second sin, second cos - first sin); with direction -1 turned back (Su et al. 2021)."""
    turned = torch.empty_like(x, memory_format=torch.contiguous_format)
    (first, second), (left, right) = x.chunk(2, dim=-1), turned.chunk(2, dim=-1)
    torch.mul(first, cos, out=left).addcmul_(second, sin, value=direction)
    torch.mul(second, cos, out=right).addcmul_(first, sin, value=-direction)
    return turned
