"""Parameter groups and optimisers of both papers; every trainable parameter is in exactly one group."""

from __future__ import annotations

from torch import nn

from moe_replication.config.sections import AdamWConfig, MuonConfig
from moe_replication.training.schedules import linear_decay, linear_warmup


def muon_groups(model: nn.Module, config: MuonConfig, width: int) -> list[dict]:
    """Paper A: Muon for matrices (3-D tensors matrix by matrix), AdamW for embedding and head.

    The confound study has the routed experts under AdamW (`experts: adamw`). Every rate is scaled by
    (width / reference)^-1/2. Groups carry `peak_lr` and `name`.
    """
    scale = (width / config.lr_reference_width) ** -0.5
    members: dict[str, list[nn.Parameter]] = {"matrix": [], "embedding": [], "head": [], "expert": []}
    for name, parameter in model.named_parameters():
        if name in ("embedding", "head"):
            group = name
        elif parameter.ndim < 2 or (".router." in name and config.router == "head"):
            group = "head"
        elif ".experts." in name and config.experts == "adamw":
            group = "expert"
        else:
            group = "matrix"
        parameter.use_muon = group == "matrix"
        members[group].append(parameter)
    adam = {
        "betas": tuple(config.betas),
        "eps": config.epsilon,
        "weight_decay": config.weight_decay,
        "use_muon": False,
    }
    muon = {"momentum": config.momentum, "weight_decay": config.weight_decay, "use_muon": True}
    rates = {
        "matrix": config.matrix_lr,
        "embedding": config.embedding_lr,
        "head": config.head_lr,
        "expert": config.expert_lr,
    }
    return [
        _group(name, parameters, rates[name] * scale, muon if name == "matrix" else adam)
        for name, parameters in members.items()
        if parameters
    ]


def adamw_groups(model: nn.Module, config: AdamWConfig) -> list[dict]:
    """Paper B: one rate for router and experts, one for everything else."""
    members: dict[str, list[nn.Parameter]] = {"expert": [], "encoder": []}
    for name, parameter in model.named_parameters():
        members["expert" if "moe." in name else "encoder"].append(parameter)
    rates = {"expert": config.expert_lr, "encoder": config.encoder_lr}
    common = {"betas": tuple(config.betas), "eps": config.epsilon, "weight_decay": config.weight_decay}
    return [_group(name, parameters, rates[name], common) for name, parameters in members.items()]


def learning_rates(config: MuonConfig | AdamWConfig, step: int, steps: int) -> dict[str, float]:
    """Multiplier of each group's peak rate at `step`."""
    if isinstance(config, AdamWConfig):
        return {"expert": 1.0, "encoder": 1.0}
    decay = linear_decay(step, steps, config.decay_fraction, config.final_lr_fraction)
    adamw = decay * linear_warmup(step, round(config.adamw_warmup_fraction * steps))
    return {"matrix": decay, "embedding": adamw, "head": adamw, "expert": adamw}


def check_groups(model: nn.Module, groups: list[dict]) -> None:
    """Every trainable parameter in exactly one group, no group empty."""
    placed = [id(parameter) for group in groups for parameter in group["params"]]
    trainable = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    if len(placed) != len(set(placed)) or set(placed) != trainable:
        raise AssertionError("a trainable parameter is missing from the optimiser groups, or in two of them")
    empty = [group["name"] for group in groups if not group["params"]]
    if empty:
        raise AssertionError(f"optimiser groups without parameters: {empty}")


def _group(name: str, parameters: list[nn.Parameter], lr: float, settings: dict) -> dict:
    return {"name": name, "params": parameters, "lr": lr, "peak_lr": lr, **settings}
