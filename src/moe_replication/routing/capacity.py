"""Capacity limits of expert threshold in training (paper A, capacity).

Legend: N tokens, E experts, K upper capacity.
"""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor


def limit_load(scores_NE: Tensor, raw_NE: Tensor, target: int, capacity: float) -> tuple[Tensor, Tensor, Tensor]:
    """Hold every expert's load within (1-C)k and (1+C)k: lowest scores dropped first, next best padded.

    Returns the mask, the saturation rate (dropped / selected) and the starvation rate (unused minimum
    capacity / minimum capacity), both over all experts. C = 0 means no limit.
    """
    zero = torch.zeros((), device=scores_NE.device)
    if capacity == 0:
        return raw_NE, zero, zero
    tokens = scores_NE.shape[0]
    share = Fraction(str(capacity))
    upper = min(tokens, math.floor((1 + share) * target))
    lower = min(tokens, math.ceil((1 - share) * target))
    raw_E = raw_NE.sum(dim=0)
    load_E = raw_E.clamp(lower, upper)
    best_KE = scores_NE.topk(upper, dim=0).indices
    taken_KE = torch.arange(upper, device=scores_NE.device)[:, None] < load_E
    mask_NE = torch.zeros_like(raw_NE).scatter_(0, best_KE, taken_KE)
    saturation = (raw_E - upper).clamp_min(0).sum() / raw_E.sum().clamp_min(1)
    starvation = (lower - raw_E).clamp_min(0).sum() / max(1, lower * scores_NE.shape[1])
    return mask_NE, saturation, starvation
