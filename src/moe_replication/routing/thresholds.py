"""What expert choice and expert threshold share: passing a cut-off, pools over ranks, gates.

Legend: N tokens of this process, E experts, P pools of M tokens.
"""

from __future__ import annotations

from torch import Tensor

from moe_replication.config.sections import RoutingConfig
from moe_replication.distributed import gather_rows, rank
from moe_replication.routing.types import RoutingState, Selection


def passes(logits_NE: Tensor, cutoff_E: Tensor, config: RoutingConfig) -> Tensor:
    """Where a logit passes its expert's cut-off: r > c (paper A), or r >= c (its released code)."""
    return logits_NE >= cutoff_E if config.comparison == "greater_equal" else logits_NE > cutoff_E


def gate(logits_NE: Tensor, mask_NE: Tensor, config: RoutingConfig) -> Tensor:
    """sigmoid(r) (paper A, notation), over the token's fan-out in the normalisation ablation (Figure 12)."""
    gates_NE = logits_NE.sigmoid()
    if config.normalize_fanout:
        gates_NE = gates_NE / mask_NE.sum(dim=1, keepdim=True).clamp_min(1)
    return gates_NE


def causal_selection(logits_NE: Tensor, mask_NE: Tensor, state: RoutingState, config: RoutingConfig) -> Selection:
    """Selection outside training, decided by the moving-average cut-off alone."""
    return Selection(mask_NE=mask_NE, gates_NE=gate(logits_NE, mask_NE, config), cutoff_E=state.cutoff_E)


def pools(rows_NE: Tensor, pool_tokens: int) -> Tensor:
    """Rows grouped into pools, (P, M, E); a pool larger than N holds the rows of all ranks.

    Logits travel, tokens do not. ValueError when the rows do not split into pools.
    """
    pooled_NE = gather_rows(rows_NE) if pool_tokens > len(rows_NE) else rows_NE
    if len(pooled_NE) % pool_tokens:
        raise ValueError(f"{len(pooled_NE)} tokens of a forward pass do not split into pools of {pool_tokens}")
    return pooled_NE.reshape(-1, pool_tokens, rows_NE.shape[1])


def own_rows(pooled_PME: Tensor, tokens: int) -> Tensor:
    """This process's `tokens` rows of what `pools` gave, (N, E)."""
    rows_NE = pooled_PME.reshape(-1, pooled_PME.shape[-1])
    first = rank() * tokens if len(rows_NE) > tokens else 0
    return rows_NE[first : first + tokens]
