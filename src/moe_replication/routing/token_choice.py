"""Token choice: every token takes its top-k experts (paper A, routing rules: TC, TC aux, TC loss-free)."""

from __future__ import annotations

import torch
from torch import Tensor

from moe_replication.config.sections import RoutingConfig
from moe_replication.routing import balance
from moe_replication.routing.types import RoutingContext, RoutingState, Selection


def select(logits_NE: Tensor, state: RoutingState, config: RoutingConfig, context: RoutingContext) -> Selection:
    """Top-k of the logits, plus the loss-free bias where `balance` says so; the gate never sees the bias."""
    scores_NE = logits_NE + state.bias_E if config.balance == "loss_free" else logits_NE
    chosen_NK = scores_NE.topk(config.top_k, dim=-1).indices
    mask_NE = torch.zeros_like(logits_NE, dtype=torch.bool).scatter_(-1, chosen_NK, True)
    gates_NE = logits_NE.sigmoid()
    aux_loss = None
    if context.training and config.balance == "aux":
        load_PE = balance.pooled_load(mask_NE, state, config.balance_pool)
        aux_loss = config.aux_weight * balance.auxiliary_loss(load_PE, gates_NE)
    return Selection(mask_NE=mask_NE, gates_NE=gates_NE, aux_loss=aux_loss)
