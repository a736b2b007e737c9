"""Balance terms of token choice (paper A, routing rules).

Legend: N tokens, E experts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moe_replication.distributed import mean_over_ranks
from moe_replication.routing.types import RoutingState


def auxiliary_loss(load_E: Tensor, gates_NE: Tensor) -> Tensor:
    """sum_i f_i P_i with f_i = (E/N) * tokens on expert i and P_i the mean gate of i; only P_i has a gradient.

    `load_E` is the share of tokens on each expert, over as many tokens as the balance pool holds: the mean
    over ranks of this loss is then that of the whole pool, f being the same on all of them.
    """
    f_E = load_E / load_E.mean()
    return (f_E * gates_NE.mean(dim=0)).sum()


def pooled_load(mask_NE: Tensor, state: RoutingState, pool: str) -> Tensor:
    """Share of tokens on each expert: in this pass on this process, or over ranks and the step's passes so far.

    Passes to come are not known; counting those gone is the practice of Qiu et al. (2025), global-batch balancing.
    """
    load_E = mask_NE.float().mean(dim=0)
    if pool == "process":
        return load_E
    return mean_over_ranks((state.load_sum_E + load_E) / (state.passes + 1))


def loss_free_bias(bias_E: Tensor, load_E: Tensor, rate: float) -> Tensor:
    """b_i + u * sign(1 - f_i), with `load_E` the share of tokens on each expert over the whole batch.

    f_i is the load relative to the mean load, so the rule is the same for any fan-out.
    """
    f_E = load_E / load_E.mean().clamp_min(torch.finfo(load_E.dtype).tiny)
    return bias_E + rate * torch.sign(1.0 - f_E)
