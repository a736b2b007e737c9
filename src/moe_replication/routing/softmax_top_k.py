"""Softmax top-k at temperature T (paper B, router).

Legend: N samples or tokens, E experts, K experts per sample.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moe_replication.config.sections import RoutingConfig
from moe_replication.routing.types import RoutingContext, RoutingState, Selection


def select(logits_NE: Tensor, state: RoutingState, config: RoutingConfig, context: RoutingContext) -> Selection:
    """Top-k of softmax(logits / T); the gates sum to one per sample where `renormalize` is set.

    During the random warm-up the choice comes from `context.random_logits_NE`, the gates still from the router.
    """
    scores_NE = logits_NE if context.random_logits_NE is None else context.random_logits_NE
    chosen_NK = scores_NE.topk(config.top_k, dim=-1).indices
    mask_NE = torch.zeros_like(logits_NE, dtype=torch.bool).scatter_(-1, chosen_NK, True)
    scaled_NE = logits_NE / context.temperature
    if config.renormalize:
        gates_NE = scaled_NE.masked_fill(~mask_NE, -torch.inf).softmax(dim=-1)
    else:
        gates_NE = scaled_NE.softmax(dim=-1) * mask_NE
    return Selection(mask_NE=mask_NE, gates_NE=gates_NE)
