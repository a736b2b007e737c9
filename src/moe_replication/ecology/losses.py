"""Paper B's routing losses as pure functions of float32 tensors.

The paper names them without formulas; each docstring gives the reconstruction.
Legend: N samples, E experts, K hidden units of the router.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from moe_replication.config.sections import EcologyConfig

_TINY = torch.finfo(torch.float32).tiny
NAMES = ("entropy", "oracle", "balance", "ortho", "divergence")


@dataclass(frozen=True, kw_only=True)
class RoutingLosses:
    """Unweighted terms, scalars."""

    entropy: Tensor
    oracle: Tensor
    balance: Tensor
    ortho: Tensor
    divergence: Tensor

    def weighted(self, config: EcologyConfig) -> dict[str, Tensor]:
        """Terms as they enter the loss; entropy enters with minus `entropy_sign`."""
        return {
            "entropy": -config.entropy_sign * config.entropy_weight * self.entropy,
            "oracle": config.oracle_weight * self.oracle,
            "balance": config.balance_weight * self.balance,
            "ortho": config.ortho_weight * self.ortho,
            "divergence": config.divergence_weight * self.divergence,
        }


def routing_entropy(probabilities_NE: Tensor) -> Tensor:
    """Mean over samples of the entropy of the routing distribution, in nats."""
    return torch.special.entr(probabilities_NE.clamp_min(_TINY)).sum(dim=-1).mean()


def oracle_loss(logits_NE: Tensor, temperature: float, expert_losses_EN: Tensor) -> Tensor:
    """Cross-entropy of the router at T to the expert with the lowest loss on each sample (no gradient to experts)."""
    best_N = expert_losses_EN.detach().argmin(dim=0)
    return F.cross_entropy(logits_NE / temperature, best_N)


def balance_loss(probabilities_NE: Tensor, gates_NE: Tensor) -> Tensor:
    """KL(mean routing || uniform) + variance over experts of the assignment mass relative to its mean.

    Assignment counts have no gradient; the mass (sum of the chosen gates) stands for them.
    """
    experts = probabilities_NE.shape[1]
    mean_E = probabilities_NE.mean(dim=0).clamp_min(_TINY)
    divergence = (torch.special.xlogy(mean_E, mean_E * experts)).sum()
    mass_E = gates_NE.sum(dim=0)
    relative_E = mass_E / mass_E.mean().clamp_min(_TINY)
    return divergence + relative_E.var(correction=0)


def orthogonality_loss(prototypes_EK: Tensor) -> Tensor:
    """||P P^T - I||^2 as the mean over off-diagonal entries, rows of P scaled to unit length."""
    return _mean_squared_off_diagonal(F.normalize(prototypes_EK.float(), dim=-1))


def divergence_loss(outputs_END: Tensor) -> Tensor:
    """Mean squared cosine between the experts' outputs on the same samples, over pairs of experts."""
    flat = outputs_END.float().flatten(1)
    return _mean_squared_off_diagonal(F.normalize(flat, dim=-1))


def _mean_squared_off_diagonal(unit_ED: Tensor) -> Tensor:
    experts = len(unit_ED)
    gram_EE = unit_ED @ unit_ED.t()
    off_diagonal = gram_EE - torch.diag_embed(gram_EE.diagonal())
    return off_diagonal.square().sum() / (experts * (experts - 1))
