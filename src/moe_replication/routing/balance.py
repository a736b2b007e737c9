"""Balance terms of token choice (paper A, routing rules).

Legend: N tokens, E experts.
"""

from __future__ import annotations

import torch
from torch import Tensor


def auxiliary_loss(mask_NE: Tensor, gates_NE: Tensor) -> Tensor:
    """sum_i f_i P_i with f_i = (E/N) * tokens on expert i and P_i the mean gate of i; only P_i has a gradient."""
    load_E = mask_NE.float().mean(dim=0)
    f_E = load_E / load_E.mean()
    return (f_E * gates_NE.mean(dim=0)).sum()


def loss_free_bias(bias_E: Tensor, load_E: Tensor, rate: float) -> Tensor:
    """b_i + u * sign(1 - f_i), with `load_E` the share of tokens on each expert over the whole batch.

    f_i is the load relative to the mean load, so the rule is the same for any fan-out.
    """
    f_E = load_E / load_E.mean().clamp_min(torch.finfo(load_E.dtype).tiny)
    return bias_E + rate * torch.sign(1.0 - f_E)
