"""Causal self-attention with rotary positions and QK norm (paper A, models).

Legend: B sequences, T positions, D model width, H heads, K head width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def rms_norm(x: Tensor) -> Tensor:
    """RMSNorm without weights, over the last dimension."""
    return F.rms_norm(x, (x.shape[-1],))


def rotary_angles(positions: int, head_width: int, base: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """cos and sin (T, K/2) in float32 for rotary position embedding (Su et al. 2021)."""
    frequencies = base ** (-torch.arange(0, head_width, 2, device=device, dtype=torch.float32) / head_width)
    angles = torch.outer(torch.arange(positions, device=device, dtype=torch.float32), frequencies)
    return angles.cos(), angles.sin()


def rotate(x_BHTK: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
    """Rotate the pairs (first half, second half) of each head by the position's angles."""
    first, second = x_BHTK.float().chunk(2, dim=-1)
    rotated = torch.cat((first * cos_TK + second * sin_TK, second * cos_TK - first * sin_TK), dim=-1)
    return rotated.to(x_BHTK.dtype)


class CausalSelfAttention(nn.Module):
    """Multi-head attention; queries and keys are rotated, then RMS-normalised."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Parameter(torch.empty(width, width))
        self.key = nn.Parameter(torch.empty(width, width))
        self.value = nn.Parameter(torch.empty(width, width))
        self.out = nn.Parameter(torch.empty(width, width))

    def forward(self, x_BTD: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        batch, length, width = x_BTD.shape
        query, key, value = (
            F.linear(x_BTD, weight).view(batch, length, self.heads, -1).transpose(1, 2)
            for weight in (self.query, self.key, self.value)
        )
        query = rms_norm(rotate(query, cos_TK, sin_TK))
        key = rms_norm(rotate(key, cos_TK, sin_TK))
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return F.linear(mixed.transpose(1, 2).reshape(batch, length, width), self.out)
