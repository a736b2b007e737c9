"""What autograd keeps for the backward pass, unit by unit: embedding, blocks, end of the network.

Legend: T positions, D model width, E experts.
"""

from __future__ import annotations

from dataclasses import dataclass

from moe_replication.layers.attention import CausalSelfAttention
from moe_replication.layers.moe import MoELayer
from moe_replication.models.gpt import GPT, Block
from moe_replication.models.tiered_moe import TieredMoEClassifier
from moe_replication.models.wide_resnet import ResidualBlock
from moe_replication.planning.parameters import count_weights


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """A part of the network in the order of the forward pass.

    `kept` are bytes of one token (or image) until its backward pass, `again` those that the backward pass makes
    anew under activation checkpointing, `held` those that the routing statistics hold on to until the next pass.
    """

    parameters: int
    kept: int
    again: int = 0
    held: int = 0


def model_units(model: GPT | TieredMoEClassifier, size: int, sides: tuple[int, int], checkpointed: bool) -> list[Unit]:
    """Every unit at `size` bytes a number; `checkpointed` blocks keep their input and what the router decided."""
    if isinstance(model, TieredMoEClassifier):
        return _image_units(model, size, sides)
    width = model.config.width
    blocks = [_block_unit(block, width, size, checkpointed) for block in model.blocks]
    return [
        Unit(parameters=model.embedding.numel(), kept=2 * width * size),
        *blocks,
        # The stream, its norm, and the loss's gradient in it.
        Unit(parameters=model.head.numel(), kept=3 * width * size),
    ]


def _block_unit(block: Block, width: int, size: int, checkpointed: bool) -> Unit:
    attention = _attention_bytes(block.attention, width, size)
    # The stream before the feed-forward and its norm; an MoE layer's own share comes on top.
    forward = 2 * width * size + (len(block.ffn.up) * size if block.is_dense else _moe_bytes(block.moe, size))
    parameters, held = count_weights(block), 0 if block.is_dense else _held_bytes(block.moe, width, size, checkpointed)
    if not checkpointed:
        return Unit(parameters=parameters, kept=attention + forward, held=held)
    # Attention and feed-forward are computed again one after the other, each from its input.
    kept = (2 * width * size) if block.is_dense else (width * size + held)
    return Unit(parameters=parameters, kept=kept, again=max(attention, forward), held=held)


def _image_units(model: TieredMoEClassifier, size: int, sides: tuple[int, int]) -> list[Unit]:
    """The input of every norm and what follows its ReLU."""
    height, width = sides
    encoder = model.encoder
    units = [Unit(parameters=count_weights(encoder.stem), kept=encoder.stem.in_channels * height * width * size)]
    for block in encoder.blocks:
        kept = 2 * block.conv1.in_channels * height * width
        height, width = output_sides(block, (height, width))
        kept += 2 * block.conv1.out_channels * height * width
        units.append(Unit(parameters=count_weights(block), kept=kept * size))
    end = (2 * height * width + 1) * encoder.norm.num_features * size
    parameters = count_weights(encoder.norm) + count_weights(encoder.project) + count_weights(model.moe)
    units.append(Unit(parameters=parameters, kept=end + _moe_bytes(model.moe, size)))
    return units


def output_sides(block: ResidualBlock, sides: tuple[int, int]) -> tuple[int, int]:
    """Height and width after a residual block."""
    stride = block.conv1.stride[0]
    return -(-sides[0] // stride), -(-sides[1] // stride)


def _attention_bytes(attention: CausalSelfAttention, width: int, size: int) -> int:
    """Stream and its norm; normalised queries and keys; values; the mixture."""
    return (2 * width + 2 * len(attention.query) + 2 * len(attention.key)) * size


def _moe_bytes(layer: MoELayer, size: int) -> int:
    """Of one token at the rule's fan-out: hidden units of every chosen expert, gate, numbers of token and expert."""
    width, experts = layer.experts.up[0].shape[-1], sum(layer.experts.tiers)
    hidden = sum(stack.numel() for stack in layer.experts.up) / width / experts
    kept = layer.routing.top_k * (hidden * size + 4 + 2 * 8)
    # Scores, gates and their sigmoid; a bfloat16 model's router reads a float32 copy of its input.
    kept += 4 * 3 * experts + (4 * width if size < 4 else 0)
    if layer.router.hidden is not None:
        kept += 4 * len(layer.router.hidden)
    if layer.shared_up is not None:
        kept += len(layer.shared_up) * size
    # The layer's output, which the routing statistics hold on to.
    return round(kept + layer.experts.out_width * size)


def _held_bytes(layer: MoELayer, width: int, size: int, checkpointed: bool) -> int:
    """Input, residual stream and, where it is not computed again, output of a layer; logits, gates and mask."""
    output = 0 if checkpointed else layer.experts.out_width
    return (2 * width + output) * size + 9 * sum(layer.experts.tiers)
