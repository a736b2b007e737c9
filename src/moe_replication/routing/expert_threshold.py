"""Expert threshold: a token goes to every expert whose moving-average cut-off it passes (paper A: ET).

Legend: N tokens, E experts, P pools of M tokens.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from moe_replication.config.sections import RoutingConfig
from moe_replication.routing import expert_choice
from moe_replication.routing.capacity import limit_load
from moe_replication.routing.thresholds import causal_selection, gate, own_rows, passes, pools
from moe_replication.routing.types import RoutingContext, RoutingState, Selection, target_load


def select(logits_NE: Tensor, state: RoutingState, config: RoutingConfig, context: RoutingContext) -> Selection:
    """r > c with the cut-off from before this batch; expert choice during warm-up; capacity in training only."""
    if context.training and context.warming_up:
        return expert_choice.select(logits_NE, state, config, context)
    scores_NE = logits_NE.detach()
    if not context.training:
        raw_NE = passes(scores_NE, state.cutoff_E, config)
        return causal_selection(logits_NE, _with_fallback(raw_NE, scores_NE, raw_NE, state, config), state, config)
    target = target_load(context.pool_tokens, config, logits_NE.shape[1])
    scores_PME = pools(scores_NE, context.pool_tokens)
    raw_PME = passes(scores_PME, state.cutoff_E, config)
    limited = limit_load(scores_PME, raw_PME, target, config.capacity)
    limited_NE, raw_NE = (own_rows(mask_PME, len(logits_NE)) for mask_PME in (limited.mask_PME, raw_PME))
    mask_NE = _with_fallback(limited_NE, scores_NE, raw_NE, state, config)
    return Selection(
        mask_NE=mask_NE,
        gates_NE=gate(logits_NE, mask_NE, config),
        cutoff_E=state.cutoff_E,
        batch_cutoff_E=limited.cutoff_PE.mean(dim=0),
        raw_usage_E=raw_PME.float().mean(dim=(0, 1)),
        saturation=limited.saturation,
        starvation=limited.starvation,
    )


def _with_fallback(
    mask_NE: Tensor, scores_NE: Tensor, raw_NE: Tensor, state: RoutingState, config: RoutingConfig
) -> Tensor:
    """`mask_NE`, and with `fallback` an expert for every token that passed no cut-off (`raw_NE`)."""
    return mask_NE | missed_by_least(scores_NE, raw_NE, state.cutoff_E) if config.fallback else mask_NE


def missed_by_least(scores_NE: Tensor, raw_NE: Tensor, cutoff_E: Tensor) -> Tensor:
    """For a token that passes no cut-off, the expert that it misses by least, argmax(r - c); causal.

    Ours: a fallback variant, on top of any capacity limit.
    """
    nearest_NE = F.one_hot((scores_NE - cutoff_E).argmax(dim=1), scores_NE.shape[1]).bool()
    return nearest_NE & ~raw_NE.any(dim=1, keepdim=True)


def next_cutoff(cutoff_E: Tensor, batch_E: Tensor, updates: int, beta: float, bias_correction: bool) -> Tensor:
    """c <- beta * c + (1 - beta) * batch cut-off, from zero.

    With `bias_correction` the stored value is kept divided by 1 - beta^t, as Adam's first moment is.
    """
    if not bias_correction:
        return beta * cutoff_E + (1 - beta) * batch_E
    raw_E = beta * cutoff_E * (1 - beta**updates) + (1 - beta) * batch_E
    return raw_E / (1 - beta ** (updates + 1))
