"""How alike two checkpoints route the same tokens (paper A, Figures 8 and 14).

Legend: L MoE layers, N tokens, E routed experts; the shared expert, which every token meets, is no part of it.
An edge is an active (layer, token, expert); its weight is the gate over the sum of the token's active gates. Sums are
in float64. Both this and base 2 of the divergences are our reading, from the paper's values: those of token choice obey
JSD = (1 - J) / (1 + J), which needs base 2 and edges of equal weight where a token has one expert, and those of the
other rules do not, so that edges are weighted there. Token-level Jaccard and Dice compare sets.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TOKEN_METRICS = ("token_jaccard", "token_dice", "token_jsd", "token_tv")
LN_2 = math.log(2.0)


class ConsistencySums:
    """The metrics over a stream of batches, equal to those of all batches at once.

    Joint distributions need the totals of all batches, so the weights of edges that both checkpoints have are
    kept (16 bytes each); of the others a sum is enough.
    """

    def __init__(self) -> None:
        self.pairs = 0
        self.token_sums = dict.fromkeys(TOKEN_METRICS, 0.0)
        self.only_a = self.only_b = 0.0
        self.shared: list[Tensor] = []

    def add(self, mask_a: Tensor, gates_a: Tensor, mask_b: Tensor, gates_b: Tensor) -> None:
        """Count one batch of masks (bool) and gates, each (L, N, E); ValueError when the shapes differ."""
        if len({tuple(tensor.shape) for tensor in (mask_a, gates_a, mask_b, gates_b)}) > 1 or mask_a.ndim != 3:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (mask_a, gates_a, mask_b, gates_b))
            raise ValueError(f"masks and gates of both checkpoints must have one shape (L, N, E), got {shapes}")
        weights_a, weights_b = edge_weights(mask_a, gates_a), edge_weights(mask_b, gates_b)
        self.pairs += mask_a.shape[0] * mask_a.shape[1]
        jaccard_LN, dice_LN = set_overlap(mask_a, mask_b)
        jsd_LN, tv_LN = distribution_distance(weights_a, weights_b)
        for name, values_LN in zip(TOKEN_METRICS, (jaccard_LN, dice_LN, jsd_LN, tv_LN), strict=True):
            self.token_sums[name] += values_LN.sum().item()
        both = mask_a & mask_b
        self.only_a += weights_a[~both].sum().item()
        self.only_b += weights_b[~both].sum().item()
        self.shared.append(torch.stack([weights_a[both], weights_b[both]]).cpu())

    def result(self) -> dict[str, float]:
        """Every metric by name; ValueError before the first token."""
        if self.pairs == 0:
            raise ValueError("consistency of no tokens is not defined; add a batch first")
        shared_a, shared_b = torch.cat(self.shared, dim=1)
        pooled_a = torch.cat([shared_a, shared_a.new_tensor([self.only_a, 0.0])])
        pooled_b = torch.cat([shared_b, shared_b.new_tensor([0.0, self.only_b])])
        joint_jsd, joint_tv = distribution_distance(pooled_a, pooled_b)
        return {
            "weighted_jaccard": weighted_jaccard(pooled_a, pooled_b),
            "weighted_dice": weighted_dice(pooled_a, pooled_b),
            **{name: total / self.pairs for name, total in self.token_sums.items()},
            "joint_jsd": joint_jsd.item(),
            "total_variation": joint_tv.item(),
        }


def edge_weights(mask_LNE: Tensor, gates_LNE: Tensor) -> Tensor:
    """Gate of every active expert over the sum of the token's, zero elsewhere, float64."""
    active_LNE = torch.where(mask_LNE, gates_LNE.double(), 0.0)
    return active_LNE / active_LNE.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)


def weighted_jaccard(weights_a: Tensor, weights_b: Tensor) -> float:
    """sum min(a, b) / sum max(a, b) over edges; 1 when both are empty."""
    union = torch.maximum(weights_a, weights_b).sum().item()
    return torch.minimum(weights_a, weights_b).sum().item() / union if union else 1.0


def weighted_dice(weights_a: Tensor, weights_b: Tensor) -> float:
    """2 sum min(a, b) / (sum a + sum b) over edges; 1 when both are empty."""
    total = (weights_a + weights_b).sum().item()
    return 2 * torch.minimum(weights_a, weights_b).sum().item() / total if total else 1.0


def set_overlap(mask_a: Tensor, mask_b: Tensor) -> tuple[Tensor, Tensor]:
    """Jaccard and Dice of the sets of active experts along the last dimension; both empty = 1, one empty = 0."""
    shared = (mask_a & mask_b).sum(dim=-1).double()
    union, total = (mask_a | mask_b).sum(dim=-1), mask_a.sum(dim=-1) + mask_b.sum(dim=-1)
    empty = union == 0
    return (
        torch.where(empty, 1.0, shared / union.clamp_min(1)),
        torch.where(empty, 1.0, 2 * shared / total.clamp_min(1)),
    )


def distribution_distance(weights_a: Tensor, weights_b: Tensor) -> tuple[Tensor, Tensor]:
    """Jensen-Shannon divergence (base 2) and total variation of weights normalised along the last dimension.

    Both empty = 0, one empty = 1, the largest value of either.
    """
    total_a, total_b = weights_a.sum(dim=-1, keepdim=True), weights_b.sum(dim=-1, keepdim=True)
    p, q = weights_a / total_a, weights_b / total_b
    filled_a, filled_b = total_a.squeeze(-1) > 0, total_b.squeeze(-1) > 0
    comparable, lone = filled_a & filled_b, (filled_a != filled_b).double()
    variation = (p - q).abs().sum(dim=-1) / 2
    divergence = (_relative_entropy(p, (p + q) / 2) + _relative_entropy(q, (p + q) / 2)) / 2
    return (
        torch.where(comparable, divergence.clamp(0.0, 1.0), lone),
        torch.where(comparable, variation.clamp(0.0, 1.0), lone),
    )


def _relative_entropy(p: Tensor, mixture: Tensor) -> Tensor:
    """sum p log2(p / mixture) along the last dimension; the mixture is positive where p is."""
    ratio = torch.where(p > 0, p / mixture, 1.0)
    return (p * ratio.log()).sum(dim=-1) / LN_2
