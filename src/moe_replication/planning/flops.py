"""FLOPs of a run, counted from the model's matrices: a multiply and an add are two.

A linear layer costs 2 * weights a token, an expert its share top_k / E of that, a convolution 2 * weights a position
of its output, attention scores and their use 4 * T * heads * head width a token and layer (the whole square, as MFU is
commonly stated; a causal kernel may skip half of it). A backward pass costs twice the forward pass. Norms, activations,
softmaxes, gathers and the embedding's look-up count as nothing.
Legend: T positions, E experts, D model width, Y classes, V vocabulary.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, fields

from torch import nn

from moe_replication.config.run import RunConfig
from moe_replication.layers.moe import MoELayer
from moe_replication.models.gpt import GPT
from moe_replication.models.tiered_moe import TieredMoEClassifier
from moe_replication.models.wide_resnet import ResidualBlock, WideResNet
from moe_replication.planning.activations import output_sides
from moe_replication.planning.memory import Layout
from moe_replication.planning.parameters import count_weights, muon_matrices, owned_tensors

NEWTON_SCHULZ_STEPS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class ForwardFlops:
    """FLOPs of one forward pass over one token (or image), by part; `encoder` is vision's."""

    encoder: int = 0
    attention: int = 0
    scores: int = 0
    ffn: int = 0
    router: int = 0
    experts: int = 0
    shared: int = 0
    head: int = 0

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFlops:
    """FLOPs of one run, all its devices together.

    `model` forward and backward passes; `oracle` paper B's trial of every expert; `recomputation` what backward
    passes compute again; `evaluation` forward passes; `newton_schulz` Muon's iterations.
    """

    model: int
    oracle: int
    recomputation: int
    evaluation: int
    newton_schulz: int

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))


def forward_flops(model: GPT | TieredMoEClassifier, config: RunConfig, sides: tuple[int, int]) -> ForwardFlops:
    """One token of a full sequence, or one image of height and width `sides`."""
    moe = Counter()
    for layer in model.moe_layers():
        moe.update(_moe_flops(layer))
    if isinstance(model, TieredMoEClassifier):
        return ForwardFlops(encoder=_encoder_flops(model.encoder, sides), **moe)
    length = config.data.sequence_length
    dense = [block.ffn for block in model.blocks if block.is_dense]
    return ForwardFlops(
        attention=sum(2 * count_weights(block.attention) for block in model.blocks),
        scores=sum(4 * length * len(block.attention.query) for block in model.blocks),
        ffn=sum(2 * count_weights(ffn) for ffn in dense),
        head=2 * model.head.numel(),
        **moe,
    )


def recomputed_flops(forward: ForwardFlops, config: RunConfig, layout: Layout) -> int:
    """Of one token: the blocks again under checkpointing."""
    return forward.total - forward.head if layout.checkpointed and config.task == "language" else 0


def oracle_flops(model: GPT | TieredMoEClassifier, config: RunConfig, samples: int) -> int:
    """Paper B's trial of every expert in a forward pass over `samples` tokens or images; 0 without ecology losses.

    Every image, or `oracle_tokens` tokens in each MoE layer, goes through all experts; a token's outputs also go
    through the head, without gradient. Experts have a backward pass only where the divergence loss has a weight.
    """
    ecology = config.ecology
    if ecology is None:
        return 0
    language = isinstance(model, GPT)
    tried = min(ecology.oracle_tokens, samples) if language else samples
    passes = 3 if ecology.divergence_weight else 1
    experts = sum(2 * count_weights(layer.experts) for layer in model.moe_layers())
    head = len(model.moe_layers()) * config.moe.experts * 2 * model.head.numel() if language else 0
    return tried * (passes * experts + head)


def newton_schulz_flops(rows: int, columns: int) -> int:
    """Orthogonalising one matrix as DeepSpeed's Muon does, five steps (muon `gram` method, 0.19.8).

    With n the shorter and m the longer side: a square matrix takes three n^3 products a step; another works on its
    Gram matrix, four products of n * n * m (two Gram matrices, one restart, one at the end) and fourteen of n^3.
    """
    n, m = sorted((rows, columns))
    if n == m:
        return NEWTON_SCHULZ_STEPS * 3 * 2 * n**3
    return 4 * 2 * n * n * m + 14 * 2 * n**3


def orthogonalization_flops(tensors: list[nn.Parameter], zero_stage: int, processes: int) -> list[int]:
    """Muon's iterations of one optimiser step, by process: what ZeRO gives to each, everything without ZeRO."""
    owned = owned_tensors(tensors, processes) if zero_stage else [tensors] * processes
    return [sum(count * newton_schulz_flops(*shape) for shape, count in muon_matrices(mine).items()) for mine in owned]


def convolutions(encoder: WideResNet, sides: tuple[int, int]) -> list[tuple[nn.Conv2d, int]]:
    """Every convolution with the positions of its output, for images of height and width `sides`."""
    found = [(encoder.stem, math.prod(sides))]
    for block in encoder.blocks:
        sides = output_sides(block, sides)
        found += [(convolution, math.prod(sides)) for convolution in block_convolutions(block)]
    return found


def block_convolutions(block: ResidualBlock) -> list[nn.Conv2d]:
    """The convolutions of a residual block."""
    return [c for c in (block.conv1, block.conv2, block.shortcut) if c is not None]


def _encoder_flops(encoder: WideResNet, sides: tuple[int, int]) -> int:
    filters = sum(2 * conv.weight.numel() * positions for conv, positions in convolutions(encoder, sides))
    return filters + 2 * encoder.project.weight.numel()


def _moe_flops(layer: MoELayer) -> dict[str, int]:
    shared = [matrix for matrix in (layer.shared_up, layer.shared_down) if matrix is not None]
    return {
        "router": 2 * sum(p.numel() for p in layer.router.parameters() if p.ndim > 1),
        "experts": 2 * (count_weights(layer.experts) - layer.idle_parameters()),
        "shared": 2 * sum(matrix.numel() for matrix in shared),
    }
