"""What happens to a router's state in training: gathered per forward pass, applied once per optimiser step."""

from __future__ import annotations

import torch

from moe_replication.config.sections import CUTOFF_RULES, RoutingConfig
from moe_replication.distributed import mean_over_ranks
from moe_replication.routing.balance import loss_free_bias
from moe_replication.routing.expert_threshold import next_cutoff
from moe_replication.routing.types import RoutingState, Selection


@torch.no_grad()
def record_pass(state: RoutingState, selection: Selection) -> None:
    """Add one training pass to the sums: load of every expert and, for cut-off rules, the batch cut-off."""
    state.passes += 1
    state.load_sum_E += selection.mask_NE.float().mean(dim=0)
    if selection.batch_cutoff_E is not None:
        state.cutoff_sum_E += selection.batch_cutoff_E


@torch.no_grad()
def end_step(state: RoutingState, config: RoutingConfig, beta: float) -> None:
    """Apply one optimiser step's mean over passes and ranks to the cut-off average or the bias.

    `beta` is the decay at this run's horizon.
    """
    follows_cutoff = config.rule in CUTOFF_RULES
    if follows_cutoff or config.balance == "loss_free":
        load_E, cutoff_E = mean_over_ranks(torch.stack([state.load_sum_E, state.cutoff_sum_E]) / state.passes)
    if follows_cutoff:
        state.cutoff_E = next_cutoff(state.cutoff_E, cutoff_E, int(state.updates), beta, config.ema_bias_correction)
    elif config.balance == "loss_free":
        state.bias_E = loss_free_bias(state.bias_E, load_E, config.bias_rate)
    state.updates += 1
    state.cutoff_sum_E.zero_()
    state.load_sum_E.zero_()
    state.passes = 0
