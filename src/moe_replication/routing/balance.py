"""Balance terms of token choice (paper A, routing rules).

Legend: N tokens, E experts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moe_replication.distributed import mean_over_ranks
from moe_replication.routing.types import RoutingState


def auxiliary_loss(load_PE: Tensor, gates_NE: Tensor) -> Tensor:
    """Mean over pools of sum_i f_i P_i: f_i = (E/N) * tokens on expert i, P_i its mean gate; only P_i has a gradient.

    `load_PE` is the share of tokens on each expert over each pool that the N tokens split into, or one row for a pool
    that holds more than these tokens: the mean over ranks of this loss is then that of the whole pool.
    """
    f_PE = load_PE / load_PE.mean(dim=1, keepdim=True)
    gates_PE = gates_NE.unflatten(0, (len(load_PE), -1)).mean(dim=1)
    return (f_PE * gates_PE).sum(dim=1).mean()


def pooled_load(mask_NE: Tensor, state: RoutingState, pool: str | int) -> Tensor:
    """Share of tokens on each expert by pool, (P, E): every `pool` tokens of this pass, all of them on this process
    (`process`), or those of all ranks and the step's passes so far (`batch`).

    Passes to come are not known; counting those gone is the practice of Qiu et al. (2025), global-batch balancing.
    """
    load_E = mask_NE.float().mean(dim=0)
    if pool == "process":
        return load_E[None]
    if pool == "batch":
        return mean_over_ranks((state.load_sum_E + load_E) / (state.passes + 1))[None]
    return mask_NE.float().unflatten(0, (-1, pool)).mean(dim=1)


def loss_free_bias(bias_E: Tensor, load_E: Tensor, rate: float) -> Tensor:
    """b_i + u * sign(1 - f_i), with `load_E` the share of tokens on each expert over the whole batch.

    f_i is the load relative to the mean load, so the rule is the same for any fan-out.
    """
    f_E = load_E / load_E.mean().clamp_min(torch.finfo(load_E.dtype).tiny)
    return bias_E + rate * torch.sign(1.0 - f_E)
