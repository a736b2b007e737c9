"""Causal self-attention with rotary positions and QK norm (paper A, models).

Legend: B sequences, T positions, D model width, H query heads, G key and value heads, K head width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moe_replication.layers.norms import rotated_norm


def rotary_angles(
    positions: int, head_width: int, base: float, device: torch.device, first: int = 0
) -> tuple[Tensor, Tensor]:
    """cos and sin (T, K/2) in float32 for rotary position embedding (Su et al. 2021), from position `first` on."""
    frequencies = base ** (-torch.arange(0, head_width, 2, device=device, dtype=torch.float32) / head_width)
    angles = torch.outer(torch.arange(first, first + positions, device=device, dtype=torch.float32), frequencies)
    return angles.cos(), angles.sin()


@dataclass(kw_only=True)
class KVCache:
    """Keys (rotated and normalised) and values of the positions seen so far in one layer; empty at first."""

    key_BGTK: Tensor | None = None
    value_BGTK: Tensor | None = None

    @property
    def length(self) -> int:
        """Positions seen."""
        return 0 if self.key_BGTK is None else self.key_BGTK.shape[2]

    def append(self, key_BGTK: Tensor, value_BGTK: Tensor) -> tuple[Tensor, Tensor]:
        """Add the next positions; returns all keys and values so far."""
        if self.length:
            key_BGTK = torch.cat((self.key_BGTK, key_BGTK), dim=2)
            value_BGTK = torch.cat((self.value_BGTK, value_BGTK), dim=2)
        self.key_BGTK, self.value_BGTK = key_BGTK, value_BGTK
        return key_BGTK, value_BGTK


class CausalSelfAttention(nn.Module):
    """Attention whose queries and keys are rotated, then RMS-normalised.

    Grouped-query where G = `kv_heads` < H: query head h reads key and value head h // (H/G) (Ainslie et al. 2023).
    """

    def __init__(self, width: int, heads: int, kv_heads: int) -> None:
        super().__init__()
        self.heads, self.kv_heads = heads, kv_heads
        kv_width = kv_heads * (width // heads)
        self.query = nn.Parameter(torch.empty(width, width))
        self.key = nn.Parameter(torch.empty(kv_width, width))
        self.value = nn.Parameter(torch.empty(kv_width, width))
        self.out = nn.Parameter(torch.empty(width, width))

    def forward(self, x_BTD: Tensor, cos_TK: Tensor, sin_TK: Tensor, cache: KVCache | None = None) -> Tensor:
        """(B, T, D) -> (B, T, D); with a cache the T positions follow the cached ones and join them."""
        batch, length, width = x_BTD.shape
        query_BTHK, key_BTGK, value_BTGK = (
            F.linear(x_BTD, weight).view(batch, length, heads, -1)
            for weight, heads in ((self.query, self.heads), (self.key, self.kv_heads), (self.value, self.kv_heads))
        )
        query = rotated_norm(query_BTHK, cos_TK, sin_TK).transpose(1, 2)
        key = rotated_norm(key_BTGK, cos_TK, sin_TK).transpose(1, 2)
        value = value_BTGK.transpose(1, 2)
        past = 0
        if cache is not None:
            past = cache.length
            key, value = cache.append(key, value)
        # torch aligns is_causal's triangle with the first key, so positions after cached ones need their own.
        mask = _later_triangle(past, length, x_BTD.device) if past else None
        mixed = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=past == 0, enable_gqa=self.kv_heads != self.heads
        )
        return F.linear(mixed.transpose(1, 2).reshape(batch, length, width), self.out)


def _later_triangle(past: int, length: int, device: torch.device) -> Tensor:
    """(T, past + T) bool: position t of the new ones sees all cached ones and the new ones up to itself."""
    return torch.ones(length, past + length, dtype=torch.bool, device=device).tril(past)
