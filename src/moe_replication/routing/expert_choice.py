"""Expert choice: every expert takes its top-k tokens of a pool (paper A, routing rules: EC).

Evaluated causally: outside training a token goes to the experts whose moving-average cut-off it passes.
Legend: N tokens, E experts, P pools of M tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moe_replication.config.run import RoutingConfig
from moe_replication.distributed import gather_rows, rank
from moe_replication.routing.types import RoutingContext, RoutingState, Selection, target_load


def select(logits_NE: Tensor, state: RoutingState, config: RoutingConfig, context: RoutingContext) -> Selection:
    """Top-k tokens per expert and pool in training, r > c in evaluation; the gate is the sigmoid of the logit."""
    gates_NE = logits_NE.sigmoid()
    if not context.training:
        return Selection(mask_NE=logits_NE > state.cutoff_E, gates_NE=gates_NE, cutoff_E=state.cutoff_E)
    mask_NE, cutoff_E = choose(logits_NE.detach(), context.pool_tokens, config)
    return Selection(mask_NE=mask_NE, gates_NE=gates_NE, cutoff_E=cutoff_E)


def choose(logits_NE: Tensor, pool_tokens: int, config: RoutingConfig) -> tuple[Tensor, Tensor]:
    """Mask of the top-k tokens of every expert and pool, and the k-th largest logit averaged over pools.

    A pool larger than this process's tokens is the tokens of all ranks: logits travel, tokens do not.
    """
    tokens, experts = logits_NE.shape
    pooled_NE = gather_rows(logits_NE) if pool_tokens > tokens else logits_NE
    if len(pooled_NE) % pool_tokens:
        raise ValueError(f"{len(pooled_NE)} tokens of a forward pass do not split into pools of {pool_tokens}")
    logits_PME = pooled_NE.reshape(-1, pool_tokens, experts)
    best_PKE, chosen_PKE = logits_PME.topk(target_load(pool_tokens, config, experts), dim=1)
    mask_PME = torch.zeros_like(logits_PME, dtype=torch.bool).scatter_(1, chosen_PKE, True)
    first = rank() * tokens if pool_tokens > tokens else 0
    return mask_PME.reshape(-1, experts)[first : first + tokens], best_PKE[:, -1].mean(dim=0)
