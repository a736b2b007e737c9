"""Load of small inference batches under frozen cut-offs, in and out of domain.

Without training's capacity limit nothing bounds what an expert gets from a batch. A cut-off decides token by
token, so the loss does not depend on the batch; the load does.
Legend: P batches of M tokens, L MoE layers, N tokens, E experts, k = M * top_k / E the target load.
"""

from __future__ import annotations

from torch import Tensor


class LoadMeter:
    """Load statistics of batches of M consecutive tokens; tokens that fill no batch are left out."""

    def __init__(self, batch_tokens: int, top_k: int, experts: int) -> None:
        self.batch_tokens = batch_tokens
        self.target = batch_tokens * top_k / experts
        self.tokens = self.used_layers = self.layers = 0
        self.loss = self.usage = self.low = self.high = self.max_over_mean = self.worst = self.zero = 0.0

    def add(self, mask_LNE: Tensor, losses_N: Tensor) -> None:
        """Count the whole batches of one forward pass."""
        layers, tokens, experts = mask_LNE.shape
        batches = tokens // self.batch_tokens
        whole = batches * self.batch_tokens
        if not batches:
            return
        load_LPE = mask_LNE[:, :whole].reshape(layers, batches, -1, experts).sum(dim=2).double()
        usage_LPE = load_LPE / self.batch_tokens
        mean_LP, most_LP = load_LPE.mean(dim=2), load_LPE.amax(dim=2)
        used_LP = mean_LP > 0
        self.tokens += whole
        self.layers += layers * batches
        self.loss += losses_N[:whole].double().sum().item()
        self.usage += usage_LPE.mean(dim=2).sum().item()
        self.low += usage_LPE.amin(dim=2).sum().item()
        self.high += usage_LPE.amax(dim=2).sum().item()
        self.used_layers += int(used_LP.sum())
        self.max_over_mean += (most_LP[used_LP] / mean_LP[used_LP]).sum().item()
        self.worst = max(self.worst, most_LP.max().item() / self.target)
        self.zero += (~mask_LNE[:, :whole].any(dim=2)).double().mean().item() * whole

    def row(self, domain: str) -> dict:
        """One row of the shift table, null where no batch was filled.

        usage_low and usage_high are the least and most used expert of a batch and layer, load_max_over_mean leaves
        out layers of a batch that use no expert, load_worst is the largest load over k of all batches and layers.
        """
        return {
            "domain": domain,
            "batch_tokens": self.batch_tokens,
            "loss": _ratio(self.loss, self.tokens),
            "usage_mean": _ratio(self.usage, self.layers),
            "usage_low": _ratio(self.low, self.layers),
            "usage_high": _ratio(self.high, self.layers),
            "load_max_over_mean": _ratio(self.max_over_mean, self.used_layers),
            "load_worst": self.worst if self.tokens else None,
            "zero_expert_share": _ratio(self.zero, self.tokens),
            "tokens": self.tokens,
        }


def _ratio(total: float, count: int) -> float | None:
    return total / count if count else None
