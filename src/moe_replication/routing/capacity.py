"""Capacity limits of expert threshold in training (paper A, capacity).

Legend: P pools of M tokens, E experts, K upper capacity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LimitedLoad:
    """Mask within capacity, the target-th largest score of every expert and pool, and two rates over all pools.

    `saturation` is dropped / selected, `starvation` unused minimum capacity / minimum capacity.
    """

    mask_PME: Tensor
    cutoff_PE: Tensor
    saturation: Tensor
    starvation: Tensor


def limit_load(scores_PME: Tensor, raw_PME: Tensor, target: int, capacity: float) -> LimitedLoad:
    """Hold every expert's load in a pool within (1-C)k and (1+C)k: lowest scores dropped first, next best padded.

    `raw_PME` must choose an expert's best tokens, as a threshold does; k = `target`, C = `capacity`, 0 for no limit.
    """
    pool = scores_PME.shape[1]
    lower, upper = _limits(target, capacity, pool)
    best = scores_PME.topk(upper, dim=1)
    cutoff_PE = best.values[:, target - 1]
    zero = torch.zeros((), device=scores_PME.device)
    if capacity == 0:
        return LimitedLoad(mask_PME=raw_PME, cutoff_PE=cutoff_PE, saturation=zero, starvation=zero)
    raw_PE = raw_PME.sum(dim=1)
    load_P1E = raw_PE.clamp(lower, upper).unsqueeze(1)
    taken_PKE = torch.arange(upper, device=scores_PME.device)[:, None] < load_P1E
    mask_PME = torch.zeros_like(raw_PME).scatter_(1, best.indices, taken_PKE)
    saturation = (raw_PE - upper).clamp_min(0).sum() / raw_PE.sum().clamp_min(1)
    starvation = (lower - raw_PE).clamp_min(0).sum() / max(1, lower * raw_PE.numel())
    return LimitedLoad(mask_PME=mask_PME, cutoff_PE=cutoff_PE, saturation=saturation, starvation=starvation)


def _limits(target: int, capacity: float, pool: int) -> tuple[int, int]:
    # As fractions: 0.1 * 30 in floating point is above 3, and its ceiling would be 4.
    share = Fraction(str(capacity))
    return min(pool, math.ceil((1 - share) * target)), min(pool, math.floor((1 + share) * target))
