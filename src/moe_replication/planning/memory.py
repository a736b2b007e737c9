"""Memory of one process in training, by part, as DeepSpeed 0.19.8 keeps it.

With P parameters, b bytes of the working precision (bfloat16 2, float32 4), W processes and ZeRO stage z:

    weights      b P
    masters      4 P / W of float32, from stage 1 on
    optimizer    8 bytes a parameter of AdamW; Muon's momentum in the gradients' precision, twice from stage 1 on
                 (a step that overflows must leave the first copy alone); both divided by W from stage 1 on
    gradients    b P; at stage 2 b P / W, twice where gradients are accumulated
    buffers      b * 500,000,000 from stage 1 on: the bucket that gradients are reduced in (reduce_bucket_size);
                 on a CPU no more than P of them are touched
    activations  what autograd keeps of one micro-batch (activation_bytes)
    workspace    16 bytes a logit of one chunk (soft-capped, log-softmax and their two gradients, in float32), or four
                 times the hidden units of the widest dense layer in precision b, whichever is more

Gradients fill while activations empty, so the sum is an upper estimate where a step has one pass; the optimiser step's
own space is smaller than the activations, which are gone by then. Paper B's trials of experts are left out.
Legend: T positions, D model width, E experts, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from moe_replication.config.run import RunConfig
from moe_replication.layers.attention import CausalSelfAttention
from moe_replication.layers.moe import MoELayer
from moe_replication.models.gpt import GPT
from moe_replication.models.tiered_moe import TieredMoEClassifier
from moe_replication.models.wide_resnet import WideResNet

BYTES = {"float32": 4, "bfloat16": 2}
# DeepSpeed's default of zero_optimization.reduce_bucket_size, in gradients.
REDUCE_BUCKET = 500_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Bytes of one process by part."""

    weights: int
    masters: int
    optimizer: int
    gradients: int
    buffers: int
    activations: int
    workspace: int

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))


def training_memory(
    model: GPT | TieredMoEClassifier,
    config: RunConfig,
    *,
    muon: int,
    precision: str,
    reserved: bool,
    sides: tuple[int, int],
) -> Memory:
    """Memory of one process; `muon` parameters have a momentum, the rest AdamW's moments.

    `reserved` says that memory counts when it is asked for (a GPU), not when it is touched; `sides` is the height
    and width of images.
    """
    parameters = sum(parameter.numel() for parameter in model.parameters())
    size, zero, shards = BYTES[precision], config.engine.zero_stage, config.engine.world_size
    momentum = size * muon
    moments = 8 * (parameters - muon)
    gradients = size * parameters
    if zero == 2:
        gradients = -(-gradients // shards) * (2 if config.accumulation > 1 else 1)
    bucket = REDUCE_BUCKET if reserved else min(REDUCE_BUCKET, parameters)
    samples = config.training.micro_batch_size * (config.data.sequence_length or 1)
    return Memory(
        weights=size * parameters,
        masters=-(-4 * parameters // shards) if zero else 0,
        optimizer=-(-(2 * momentum + moments) // shards) if zero else momentum + moments,
        gradients=gradients,
        buffers=size * bucket if zero else 0,
        activations=samples * activation_bytes(model, config, size, sides),
        workspace=_workspace_bytes(model, config, samples, size),
    )


def checkpoint_bytes(memory: Memory, config: RunConfig) -> int:
    """A resumable checkpoint on disk: weights, and every process's masters, moments and momentum (one copy)."""
    shards = config.engine.world_size if config.engine.zero_stage else 1
    return memory.weights + shards * (memory.masters + memory.optimizer)


def activation_bytes(model: GPT | TieredMoEClassifier, config: RunConfig, size: int, sides: tuple[int, int]) -> int:
    """What autograd keeps for the backward pass of one token (or image) at `size` bytes a number, logits left out."""
    routed = sum(_moe_bytes(layer, size) for layer in model.moe_layers())
    if isinstance(model, TieredMoEClassifier):
        return _encoder_numbers(model.encoder, sides) * size + routed
    width = config.model.width
    kept = 0
    for block in model.blocks:
        kept += _attention_bytes(block.attention, width, size)
        # The stream before the feed-forward and its norm; an MoE layer's own share is in `routed`.
        kept += 2 * width * size
        if block.is_dense:
            kept += 2 * len(block.ffn.up) * size
    # Embedding and stream at the end with their norms.
    return kept + routed + 4 * width * size


def _workspace_bytes(model: GPT | TieredMoEClassifier, config: RunConfig, samples: int, size: int) -> int:
    if not isinstance(model, GPT):
        return 0
    logits = 16 * min(samples, config.training.loss_chunk_tokens) * len(model.head)
    hidden = max((len(block.ffn.up) for block in model.blocks if block.is_dense), default=0)
    return max(logits, 4 * size * samples * hidden)


def _attention_bytes(attention: CausalSelfAttention, width: int, size: int) -> int:
    """Stream and its norm; queries and keys before and after theirs; values; the mixture."""
    return (2 * width + 3 * len(attention.query) + 3 * len(attention.key)) * size


def _moe_bytes(layer: MoELayer, size: int) -> int:
    """Of one token at the rule's fan-out: input, two hidden layers and a float32 output of every chosen expert."""
    width, experts = layer.experts.up[0].shape[-1], sum(layer.experts.tiers)
    hidden = sum(stack.numel() for stack in layer.experts.up) / width / experts
    kept = layer.routing.top_k * ((width + 2 * hidden) * size + 4 * layer.experts.out_width)
    # Scores, gates and their sigmoid; a bfloat16 model's router reads a float32 copy of its input.
    kept += 4 * 3 * experts + (4 * width if size < 4 else 0)
    if layer.router.hidden is not None:
        kept += 4 * len(layer.router.hidden)
    if layer.shared_up is not None:
        kept += 2 * len(layer.shared_up) * size
    # The layer's output, which the routing statistics hold on to.
    return round(kept + layer.experts.out_width * size)


def _encoder_numbers(encoder: WideResNet, sides: tuple[int, int]) -> int:
    """Numbers kept of one image: the input of every norm and what follows its ReLU, and the input."""
    height, width = sides
    kept = encoder.stem.in_channels * height * width
    for block in encoder.blocks:
        kept += 2 * block.conv1.in_channels * height * width
        height, width = (-(-side // block.conv1.stride[0]) for side in (height, width))
        kept += 2 * block.conv1.out_channels * height * width
    return kept + 2 * encoder.norm.num_features * height * width + encoder.norm.num_features
