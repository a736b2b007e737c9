"""Paper A's routing rules of the plain reference, for one process whose pass is the pool or holds whole pools.

Legend: N tokens, D model width, E experts, M tokens of a pool, P pools.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from moe_replication.config.sections import RoutingConfig


@dataclass(kw_only=True)
class Routed:
    """Who goes where: `mask_NE` bool, `gates_NE` read where the mask is set."""

    mask_NE: Tensor
    gates_NE: Tensor
    aux_loss: Tensor | None = None


class Router(nn.Module):
    """A linear router under token choice, expert choice or expert threshold; gates are sigmoids of the logits."""

    def __init__(self, width: int, experts: int, config: RoutingConfig, pool_tokens: int) -> None:
        super().__init__()
        self.config, self.pool_tokens = config, pool_tokens
        self.linear = nn.Linear(width, experts, bias=False)
        self.register_buffer("cutoff_E", torch.zeros(experts))
        self.last_cutoff_E: Tensor | None = None

    def forward(self, x_ND: Tensor, warming_up: bool) -> Routed:
        logits_NE = self.linear(x_ND)
        gates_NE = logits_NE.sigmoid()
        if self.config.rule == "token_choice":
            mask_NE = torch.zeros_like(logits_NE, dtype=torch.bool)
            mask_NE.scatter_(1, logits_NE.topk(self.config.top_k, dim=1).indices, True)
            aux_loss = self._balance(mask_NE, gates_NE) if self.config.balance == "aux" else None
            return Routed(mask_NE=mask_NE, gates_NE=gates_NE, aux_loss=aux_loss)
        choose = self._choose if self.config.rule == "expert_choice" or warming_up else self._threshold
        pools = logits_NE.detach().view(-1, self.pool_tokens, logits_NE.shape[1])
        masks, cutoffs = zip(*(choose(pool) for pool in pools), strict=True)
        self.last_cutoff_E = torch.stack(cutoffs).mean(dim=0)
        return Routed(mask_NE=torch.cat(masks), gates_NE=gates_NE)

    @torch.no_grad()
    def end_step(self, beta: float) -> None:
        """Move the cut-off's average after an optimiser step."""
        if self.last_cutoff_E is not None:
            self.cutoff_E.lerp_(self.last_cutoff_E, 1 - beta)

    def _balance(self, mask_NE: Tensor, gates_NE: Tensor) -> Tensor:
        """aux_weight * mean over pools of sum_i f_i P_i."""
        pool = self.config.balance_pool
        f_PE = mask_NE.float().view(-1, pool, mask_NE.shape[1]).mean(dim=1) * mask_NE.shape[1] / self.config.top_k
        p_PE = gates_NE.view(-1, pool, mask_NE.shape[1]).mean(dim=1)
        return self.config.aux_weight * (f_PE * p_PE).sum(dim=1).mean()

    def _choose(self, scores_ME: Tensor) -> tuple[Tensor, Tensor]:
        best = scores_ME.topk(self._target(scores_ME), dim=0)
        return torch.zeros_like(scores_ME, dtype=torch.bool).scatter_(0, best.indices, True), best.values[-1]

    def _threshold(self, scores_ME: Tensor) -> tuple[Tensor, Tensor]:
        target, limit = self._target(scores_ME), self.config.capacity
        best = scores_ME.topk(int((1 + limit) * target), dim=0)
        passed_E = (scores_ME > self.cutoff_E).sum(dim=0)
        load_E = passed_E.clamp(int((1 - limit) * target), int((1 + limit) * target))
        taken = torch.arange(len(best.indices)).unsqueeze(1) < load_E
        mask_ME = torch.zeros_like(scores_ME, dtype=torch.bool).scatter_(0, best.indices, taken)
        return mask_ME, best.values[target - 1]

    def _target(self, scores_ME: Tensor) -> int:
        return round(scores_ME.shape[0] * self.config.top_k / scores_ME.shape[1])
