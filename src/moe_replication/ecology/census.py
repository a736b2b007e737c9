"""Who is used and who is dead: the census of paper B over a whole test set.

Legend: N samples, E experts, L MoE layers.
"""

from __future__ import annotations

import numpy as np

from moe_replication.config.sections import CensusConfig

TAXONOMY = ("pure_core", "broad_core", "weak_core", "edge", "noise", "dead")


def usage_shares(top1_N: np.ndarray, experts: int) -> np.ndarray:
    """Share of the routed samples whose top-1 expert is i, (E,); a sample that no expert takes has top-1 expert -1.

    The shares sum to one under every rule, as the limits on them suppose; they are 0 where no sample is routed.
    """
    routed_N = top1_N[top1_N >= 0]
    return np.bincount(routed_N, minlength=experts) / max(len(routed_N), 1)


def expert_accuracy(top1_N: np.ndarray, correct_N: np.ndarray, experts: int) -> np.ndarray:
    """Accuracy on each expert's own samples, (E,); NaN for an expert without any."""
    routed_N = top1_N >= 0
    counts = np.bincount(top1_N[routed_N], minlength=experts)
    hits = np.bincount(top1_N[routed_N], weights=correct_N[routed_N].astype(float), minlength=experts)
    return np.divide(hits, counts, out=np.full(experts, np.nan), where=counts > 0)


def taxonomy(usage: float, accuracy: float, limits: CensusConfig) -> str:
    """Class of one expert from its usage and the accuracy of its own samples (paper B, setup)."""
    if usage < limits.dead_share:
        return "dead"
    if usage < limits.edge_share:
        return "edge" if accuracy >= limits.edge_accuracy else "noise"
    if accuracy >= limits.core_accuracy:
        return "pure_core"
    return "broad_core" if accuracy >= limits.broad_accuracy else "weak_core"


def usage_entropy(usage_E: np.ndarray) -> float:
    """Entropy of the usage over ln E: 1 is even use, 0 a single expert."""
    used = usage_E[usage_E > 0] / usage_E.sum()
    return float(-(used * np.log(used)).sum() / np.log(len(usage_E)))


def dead_counts(usage_E: np.ndarray, assigned_E: np.ndarray, limits: CensusConfig) -> dict[str, float]:
    """Dead experts under each definition by share, and the number of active ones.

    `assigned_E` counts assignments, first choice or not: `dead_experts_assigned` takes its shares.
    """
    dead = int((usage_E < limits.dead_share).sum())
    return {
        "dead_experts": float(dead),
        "dead_experts_assigned": float((assigned_E < limits.dead_share * max(assigned_E.sum(), 1)).sum()),
        "dead_experts_tenth_percent": float((usage_E < limits.strict_dead_share).sum()),
        "dead_experts_fair_share": float((usage_E < limits.fair_share_fraction / len(usage_E)).sum()),
        "active_experts": float(len(usage_E) - dead),
    }


def tier_shares(usage_E: np.ndarray, tier_of_expert: tuple[int, ...]) -> list[float]:
    """Usage summed over each tier."""
    return np.bincount(np.asarray(tier_of_expert), weights=usage_E).tolist()


class SilenceCounter:
    """Consecutive training batches, up to now, in which an expert of a layer got nothing."""

    def __init__(self, layers: int, experts: int) -> None:
        self.current_LE = np.zeros((layers, experts), dtype=np.int64)

    def add(self, counts_LE: np.ndarray) -> None:
        """Take in one batch's assignment counts."""
        self.current_LE = np.where(counts_LE > 0, 0, self.current_LE + 1)

    def silent_experts(self, batches: int) -> int:
        """Experts of the worst layer without routing for more than `batches` batches in a row, now."""
        return int((self.current_LE > batches).sum(axis=1).max())

    def state_dict(self) -> list[list[int]]:
        """For the checkpoint."""
        return self.current_LE.tolist()

    def load_state_dict(self, saved: list[list[int]]) -> None:
        """Restore what `state_dict` gave."""
        self.current_LE = np.asarray(saved, dtype=np.int64)
