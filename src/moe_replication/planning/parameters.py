"""The model that a run would train, without its weights."""

from __future__ import annotations

from collections import Counter

import torch
from torch import nn

from moe_replication.config.run import RunConfig
from moe_replication.config.sections import MuonConfig
from moe_replication.models.gpt import GPT
from moe_replication.models.tiered_moe import TieredMoEClassifier
from moe_replication.planning.assumptions import ImageSet
from moe_replication.training.optimizers import muon_groups


def meta_model(config: RunConfig, images: ImageSet | None) -> GPT | TieredMoEClassifier:
    """The run's model on the meta device: shapes without storage; `images` is the image set of vision runs."""
    with torch.device("meta"):
        if images is None:
            return GPT(config)
        return TieredMoEClassifier(config, images.channels, images.classes)


def parameter_counts(model: GPT | TieredMoEClassifier) -> tuple[int, int]:
    """(total, active) parameters; active leaves out the experts that a token does not meet on average."""
    total = sum(parameter.numel() for parameter in model.parameters())
    return total, total - sum(layer.idle_parameters() for layer in model.moe_layers())


def muon_parameters(model: nn.Module, config: RunConfig) -> int:
    """Parameters that Muon moves; AdamW moves the rest."""
    return sum(parameter.numel() for parameter in _muon_tensors(model, config))


def muon_matrices(model: nn.Module, config: RunConfig) -> Counter[tuple[int, int]]:
    """How many matrices of each (rows, columns) Muon orthogonalises; a 3-D tensor is one matrix a slice."""
    shapes: Counter[tuple[int, int]] = Counter()
    for parameter in _muon_tensors(model, config):
        rows, columns = parameter.shape[-2:]
        shapes[rows, columns] += parameter.numel() // (rows * columns)
    return shapes


def _muon_tensors(model: nn.Module, config: RunConfig) -> list[nn.Parameter]:
    if not isinstance(config.optimizer, MuonConfig):
        return []
    groups = muon_groups(model, config.optimizer, config.model.width)
    return [parameter for group in groups if group["use_muon"] for parameter in group["params"]]
