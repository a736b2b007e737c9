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


def count_weights(module: nn.Module) -> int:
    """Numbers in all parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


def parameter_counts(model: GPT | TieredMoEClassifier) -> tuple[int, int]:
    """(total, active) parameters; active leaves out the experts that a token does not meet on average."""
    total = count_weights(model)
    return total, total - sum(layer.idle_parameters() for layer in model.moe_layers())


def muon_matrices(tensors: list[nn.Parameter]) -> Counter[tuple[int, int]]:
    """How many matrices of each (rows, columns) Muon orthogonalises; a 3-D tensor is one matrix a slice."""
    shapes: Counter[tuple[int, int]] = Counter()
    for tensor in tensors:
        rows, columns = tensor.shape[-2:]
        shapes[rows, columns] += tensor.numel() // (rows * columns)
    return shapes


def owned_tensors(tensors: list[nn.Parameter], processes: int) -> list[list[nn.Parameter]]:
    """By process, the tensors that ZeRO's equal slices of all numbers touch, in order.

    Muon needs a matrix as a whole: every process whose slice touches a tensor keeps all of its momentum and
    orthogonalises all of it (DeepSpeed 0.19.8, stage_1_and_2.py: muon_copy_ranks, _muon_momentum_buffer).
    """
    slice_size = -(-sum(tensor.numel() for tensor in tensors) // processes)
    owned: list[list[nn.Parameter]] = [[] for _ in range(processes)]
    first = 0
    for tensor in tensors:
        last = first + tensor.numel() - 1
        for process in range(first // slice_size, last // slice_size + 1):
            owned[process].append(tensor)
        first = last + 1
    return owned


def muon_tensors(model: nn.Module, config: RunConfig) -> list[nn.Parameter]:
    """Parameters that Muon moves."""
    if not isinstance(config.optimizer, MuonConfig):
        return []
    groups = muon_groups(model, config.optimizer, config.model.width)
    return [parameter for group in groups if group["use_muon"] for parameter in group["params"]]


def adamw_tensors(model: nn.Module, config: RunConfig) -> list[nn.Parameter]:
    """Parameters that AdamW moves: those that Muon does not."""
    taken = set(map(id, muon_tensors(model, config)))
    return [parameter for parameter in model.parameters() if id(parameter) not in taken]
