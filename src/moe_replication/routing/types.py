"""What routing rules take and give.

Legend: N tokens of the forward pass, E routed experts, M tokens of a pool, P pools, L MoE layers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moe_replication.config.sections import RoutingConfig


@dataclass(kw_only=True)
class RoutingState:
    """What a router remembers between optimiser steps, in float32 whatever the model's precision.

    `cutoff_E` is the moving average of the cut-off, `bias_E` the loss-free bias; the sums gather the
    forward passes of one optimiser step and are emptied by `end_step`.
    """

    cutoff_E: Tensor
    bias_E: Tensor
    updates: Tensor
    cutoff_sum_E: Tensor
    load_sum_E: Tensor
    passes: int = 0

    @classmethod
    def empty(cls, experts: int) -> RoutingState:
        """State before the first step: cut-offs and biases zero."""
        zero = torch.zeros(experts)
        return cls(
            cutoff_E=zero.clone(), bias_E=zero.clone(), updates=torch.zeros((), dtype=torch.int64),
            cutoff_sum_E=zero.clone(), load_sum_E=zero.clone(),
        )  # fmt: skip

    def to(self, device: torch.device) -> None:
        """Move every tensor to `device` in place."""
        for name in ("cutoff_E", "bias_E", "updates", "cutoff_sum_E", "load_sum_E"):
            setattr(self, name, getattr(self, name).to(device))

    def state_dict(self) -> dict[str, Tensor]:
        """What a checkpoint must hold; taken between optimiser steps, when the sums are empty."""
        return {"cutoff_E": self.cutoff_E, "bias_E": self.bias_E, "updates": self.updates}

    def load_state_dict(self, saved: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
        for name, value in saved.items():
            setattr(self, name, value.to(getattr(self, name).device, copy=True))


@dataclass(frozen=True, kw_only=True)
class RoutingContext:
    """Circumstances of one forward pass.

    `pool_tokens` counts the tokens that an expert chooses from, over all ranks where it exceeds this process's;
    `warming_up` selects by expert choice under expert threshold; `random_logits_LNE` replaces the scores that select
    (not the gates) when given, each of the model's layers has its own; `temperature` is softmax_top_k's T.
    """

    training: bool
    pool_tokens: int
    warming_up: bool = False
    temperature: float = 1.0
    random_logits_LNE: Tensor | None = None
    layer: int = 0

    @property
    def random_logits_NE(self) -> Tensor | None:
        """The random scores of MoE layer `layer`, None where the router's own select."""
        return None if self.random_logits_LNE is None else self.random_logits_LNE[self.layer]


@dataclass(kw_only=True)
class Selection:
    """Which tokens go to which experts, and with which weight.

    `mask_NE` bool; `gates_NE` float32, differentiable, read only where the mask is set; `cutoff_E` the logit that
    separates chosen from not, of the first pool where pools choose by themselves (None for token rules);
    `batch_cutoff_E` what the moving average follows, the mean over pools (training, cut-off rules); `raw_usage_E` the
    share of tokens before capacity; `aux_loss` already weighted.
    """

    mask_NE: Tensor
    gates_NE: Tensor
    cutoff_E: Tensor | None = None
    batch_cutoff_E: Tensor | None = None
    raw_usage_E: Tensor | None = None
    aux_loss: Tensor | None = None
    saturation: Tensor | None = None
    starvation: Tensor | None = None


def target_load(tokens: int, config: RoutingConfig, experts: int) -> int:
    """k = N/E of the paper's notation: tokens per routed expert at fan-out `top_k`, at least one."""
    return max(1, round(tokens * config.top_k / experts))
