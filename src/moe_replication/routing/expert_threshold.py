"""Expert threshold: a token goes to every expert whose moving-average cut-off it passes (paper A: ET).

Legend: N tokens, E experts, k target load.
"""

from __future__ import annotations

from torch import Tensor

from moe_replication.config.run import RoutingConfig
from moe_replication.routing import expert_choice
from moe_replication.routing.capacity import limit_load
from moe_replication.routing.types import RoutingContext, RoutingState, Selection, target_load


def select(logits_NE: Tensor, state: RoutingState, config: RoutingConfig, context: RoutingContext) -> Selection:
    """r > c with the cut-off from before this batch; expert choice during warm-up; capacity in training only."""
    gates_NE = logits_NE.sigmoid()
    if not context.training:
        return Selection(mask_NE=logits_NE > state.cutoff_E, gates_NE=gates_NE, cutoff_E=state.cutoff_E)
    scores_NE = logits_NE.detach()
    if context.warming_up:
        mask_NE, cutoff_E = expert_choice.choose(scores_NE, context.pool_tokens, config)
        return Selection(mask_NE=mask_NE, gates_NE=gates_NE, cutoff_E=cutoff_E)
    raw_NE = scores_NE > state.cutoff_E
    target = target_load(logits_NE.shape[0], config, logits_NE.shape[1])
    mask_NE, saturation, starvation = limit_load(scores_NE, raw_NE, target, config.capacity)
    return Selection(
        mask_NE=mask_NE,
        gates_NE=gates_NE,
        cutoff_E=state.cutoff_E,
        saturation=saturation,
        starvation=starvation,
    )


def batch_cutoff(logits_NE: Tensor, config: RoutingConfig) -> Tensor:
    """k-th largest logit of each expert over the batch: what the moving average follows."""
    target = target_load(logits_NE.shape[0], config, logits_NE.shape[1])
    return logits_NE.detach().topk(target, dim=0).values[-1]


def next_cutoff(cutoff_E: Tensor, batch_E: Tensor, updates: int, beta: float, bias_correction: bool) -> Tensor:
    """c <- beta * c + (1 - beta) * batch cut-off, from zero.

    With `bias_correction` the stored value is kept divided by 1 - beta^t, as Adam's first moment is.
    """
    if not bias_correction:
        return beta * cutoff_E + (1 - beta) * batch_E
    raw_E = beta * cutoff_E * (1 - beta**updates) + (1 - beta) * batch_E
    return raw_E / (1 - beta ** (updates + 1))
