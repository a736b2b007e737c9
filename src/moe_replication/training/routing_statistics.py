"""What a routing decision looked like, as plain numbers; in training, of the logged step's last forward pass.

Legend: N tokens, E experts, L MoE layers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moe_replication.distributed import mean_over_ranks
from moe_replication.layers.moe import MoELayer, MoEOutput


@torch.no_grad()
def routing_row(outputs: list[MoEOutput]) -> dict[str, float | None]:
    """Means over layers and ranks of one training pass: usage, load, fan-out, cut-off, capacity rates, gates, logits.

    `raw_usage_mean` is the usage before the capacity limit, `cutoff_std` the root mean square of `cutoff_deviation`.
    """
    usage_LE = mean_over_ranks(usage(outputs))
    local = _local_means(outputs)
    found = dict(zip(local, mean_over_ranks(torch.stack(list(local.values()))).tolist(), strict=True))
    if "cutoff_square" in found:
        found["cutoff_std"] = found.pop("cutoff_square") ** 0.5
    return {
        "usage_mean": usage_LE.mean().item(),
        "usage_std": usage_LE.std(dim=1, correction=0).mean().item(),
        "raw_usage_mean": usage_LE.mean().item(),
        "load_max_over_mean": max_over_mean(usage_LE),
        "fanout_mean": usage_LE.sum(dim=1).mean().item(),
        "saturation": None,
        "starvation": None,
    } | found


@torch.no_grad()
def expert_rows(step: int, outputs: list[MoEOutput], layers: list[MoELayer]) -> list[dict]:
    """One row per layer and expert of one training pass, for experts.parquet."""
    usage_LE = mean_over_ranks(usage(outputs)).tolist()
    has_cutoff = outputs[0].selection.cutoff_E is not None
    deviation_LE = cutoff_deviation(outputs).tolist() if has_cutoff else None
    rows = []
    for layer, (output, module) in enumerate(zip(outputs, layers, strict=True)):
        bias_E = module.state.bias_E.tolist() if module.routing.balance == "loss_free" else None
        cutoff_E = output.selection.cutoff_E.tolist() if has_cutoff else None
        for expert, share in enumerate(usage_LE[layer]):
            rows.append(
                {
                    "step": step,
                    "layer": layer,
                    "expert": expert,
                    "usage": share,
                    "cutoff": cutoff_E[expert] if cutoff_E else None,
                    "cutoff_deviation": deviation_LE[layer][expert] if deviation_LE else None,
                    "bias": bias_E[expert] if bias_E else None,
                }
            )
    return rows


def usage(outputs: list[MoEOutput]) -> Tensor:
    """Share of tokens that go to each expert, (L, E)."""
    return torch.stack([output.selection.mask_NE.float().mean(dim=0) for output in outputs])


def max_over_mean(usage_LE: Tensor) -> float:
    """Load imbalance: the busiest expert's load over the mean load, averaged over layers."""
    return (usage_LE.amax(dim=1) / usage_LE.mean(dim=1).clamp_min(1e-12)).mean().item()


def zero_expert_share(outputs: list[MoEOutput]) -> Tensor:
    """Share of tokens without a routed expert, mean over layers."""
    return torch.stack([(~o.selection.mask_NE.any(dim=1)).float().mean() for o in outputs]).mean()


def cutoff_deviation(outputs: list[MoEOutput]) -> Tensor:
    """Cut-off that decided, of the first pool, minus the moving average before the pass, (L, E); zero under ET."""
    return torch.stack([output.selection.cutoff_E - output.average_E for output in outputs])


def _local_means(outputs: list[MoEOutput]) -> dict[str, Tensor]:
    """Scalars of this rank whose mean over ranks is that of all; gates are those of chosen experts."""
    logits = torch.stack([o.logits_NE for o in outputs])
    gates = torch.cat([o.selection.gates_NE[o.selection.mask_NE] for o in outputs])
    means = {
        "zero_expert_share_training": zero_expert_share(outputs),
        "logit_mean": logits.mean(),
        "logit_std": logits.std(correction=0),
        "gate_mean": gates.mean() if len(gates) else gates.sum(),
        "gate_std": gates.std(correction=0) if len(gates) else gates.sum(),
    }
    selections = [o.selection for o in outputs]
    for name, source in (("raw_usage_mean", "raw_usage_E"), ("saturation", "saturation"), ("starvation", "starvation")):
        if getattr(selections[0], source) is not None:
            means[name] = torch.stack([getattr(selection, source).float().mean() for selection in selections]).mean()
    if selections[0].cutoff_E is not None:
        means["cutoff_mean"] = torch.stack([selection.cutoff_E.mean() for selection in selections]).mean()
        means["cutoff_square"] = cutoff_deviation(outputs).square().mean()
    return means
