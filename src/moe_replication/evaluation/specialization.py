"""Which experts a domain's tokens go to (paper A, Figures 4b and 22).

Legend: L MoE layers, E experts.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor


def specialization_rows(domain: str, load_LE: Tensor, tokens: int) -> list[dict]:
    """Expert-token ratio: share of the domain's tokens that each expert takes, from its load in tokens."""
    return [
        {"domain": domain, "layer": layer, "expert": expert, "ratio": load / tokens, "tokens": tokens}
        for layer, load_E in enumerate(load_LE.tolist())
        for expert, load in enumerate(load_E)
    ]


def domain_distance(ratio_a_LE: np.ndarray, ratio_b_LE: np.ndarray) -> float:
    """Total variation between two domains' distributions of assignments over experts, mean over layers.

    0: the same experts do the same share of the work, whatever the fan-out; 1: no expert in common. A layer that
    neither domain uses counts 0, one that a single domain uses 1, as in paper A's consistency measures.
    """
    total_a_L, total_b_L = ratio_a_LE.sum(axis=1), ratio_b_LE.sum(axis=1)
    safe_a_L1, safe_b_L1 = (np.where(total > 0, total, 1.0)[:, None] for total in (total_a_L, total_b_L))
    variation_L = np.abs(ratio_a_LE / safe_a_L1 - ratio_b_LE / safe_b_L1).sum(axis=1) / 2
    lone_L = (total_a_L > 0) != (total_b_L > 0)
    return float(np.where(lone_L, 1.0, variation_L).mean())
