"""Expert choice: every expert takes its top-k tokens of a pool (paper A, routing rules: EC).

Evaluated causally: outside training a token goes to the experts whose moving-average cut-off it passes.
Legend: N tokens, E experts, P pools of M tokens, K tokens chosen.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moe_replication.config.sections import RoutingConfig
from moe_replication.routing.thresholds import causal_selection, gate, own_rows, passes, pools
from moe_replication.routing.types import RoutingContext, RoutingState, Selection, target_load


def select(logits_NE: Tensor, state: RoutingState, config: RoutingConfig, context: RoutingContext) -> Selection:
    """Top-k tokens per expert and pool in training, r > c in evaluation; the gate is the sigmoid of the logit."""
    if not context.training:
        return causal_selection(logits_NE, passes(logits_NE, state.cutoff_E, config), state, config)
    mask_NE, cutoff_PE = choose(logits_NE.detach(), context.pool_tokens, config)
    return Selection(
        mask_NE=mask_NE,
        gates_NE=gate(logits_NE, mask_NE, config),
        cutoff_E=cutoff_PE[0],
        batch_cutoff_E=cutoff_PE.mean(dim=0),
    )


def choose(logits_NE: Tensor, pool_tokens: int, config: RoutingConfig) -> tuple[Tensor, Tensor]:
    """Mask of the top-k tokens of every expert and pool, and the k-th largest logit of each, (P, E)."""
    logits_PME = pools(logits_NE, pool_tokens)
    best_PKE, chosen_PKE = logits_PME.topk(target_load(pool_tokens, config, logits_NE.shape[1]), dim=1)
    mask_PME = torch.zeros_like(logits_PME, dtype=torch.bool).scatter_(1, chosen_PKE, True)
    return own_rows(mask_PME, len(logits_NE)), best_PKE[:, -1]
