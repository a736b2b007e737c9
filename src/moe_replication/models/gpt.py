"""The language model of both papers: a nanochat-like GPT whose feed-forward layers may be MoE.

RMSNorm without weights, rotary positions, QK norm, ReLU^2, no biases, untied embedding and head, logit
soft-cap (paper A, models). Paper B's GPT-2-like model differs in size, router and tiers only; that is a
reconstruction.
Legend: B sequences, T positions, D model width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moe_replication.config.run import RunConfig
from moe_replication.config.sections import GPTConfig, MoEConfig, RoutingConfig
from moe_replication.layers.attention import CausalSelfAttention, KVCache, rotary_angles
from moe_replication.layers.experts import expert_ffn
from moe_replication.layers.head_loss import HeadLoss
from moe_replication.layers.moe import MoELayer, MoEOutput
from moe_replication.layers.norms import rms_norm
from moe_replication.layers.recompute import recomputed
from moe_replication.models.initialization import aspect_ratio_std, fill_normal, named_matrices
from moe_replication.routing import RoutingContext


class DenseFFN(nn.Module):
    """relu(x W_up)^2 W_down."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.empty(hidden, width))
        self.down = nn.Parameter(torch.empty(width, hidden))

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return expert_ffn(x, self.up, self.down)


class Block(nn.Module):
    """Pre-norm attention and feed-forward; the latter dense or MoE.

    With `recompute` attention, feed-forward, router and experts are computed again in the backward pass, the
    routing decision is kept.
    """

    def __init__(self, model: GPTConfig, moe: MoEConfig, routing: RoutingConfig, dense: bool, recompute: bool) -> None:
        super().__init__()
        self.attention = CausalSelfAttention(model.width, model.heads, model.kv_heads)
        if dense:
            self.ffn = DenseFFN(model.width, round(model.ffn_multiple * model.width))
        else:
            self.moe = MoELayer(model.width, model.width, moe, routing)
        self.is_dense, self.recompute = dense, recompute

    def forward(
        self, x_BTD: Tensor, cos_TK: Tensor, sin_TK: Tensor, context: RoutingContext, cache: KVCache | None = None
    ) -> tuple[Tensor, MoEOutput | None]:
        """Residual stream after this block, and the routing of its MoE layer."""
        x_BTD = recomputed(self._attend, x_BTD, cos_TK, sin_TK, cache, enabled=self.recompute)
        if self.is_dense:
            return recomputed(self._feed_forward, x_BTD, enabled=self.recompute), None
        output = self.moe(rms_norm(x_BTD), context, self.recompute)
        output.residual_ND = x_BTD.flatten(0, 1)
        x_BTD = x_BTD + output.y
        if self.recompute:
            output.y = None
        return x_BTD, output

    def _attend(self, x_BTD: Tensor, cos_TK: Tensor, sin_TK: Tensor, cache: KVCache | None) -> Tensor:
        return x_BTD + self.attention(rms_norm(x_BTD), cos_TK, sin_TK, cache)

    def _feed_forward(self, x_BTD: Tensor) -> Tensor:
        return x_BTD + self.ffn(rms_norm(x_BTD))


@dataclass(kw_only=True)
class GPTOutput:
    """Final hidden states (normalised) and, by MoE layer, the routing and the residual stream before it."""

    hidden_BTD: Tensor
    routing: list[MoEOutput]


class GPT(nn.Module):
    """Decoder-only transformer."""

    def __init__(self, config: RunConfig) -> None:
        super().__init__()
        model = config.model
        self.config = model
        self.experts_differ = config.ecology is not None
        self.loss_chunk_tokens = config.training.loss_chunk_tokens
        self.embedding = nn.Parameter(torch.empty(config.data.vocab_size, model.width))
        self.head = nn.Parameter(torch.empty(config.data.vocab_size, model.width))
        all_dense, recompute = config.routing.rule == "dense", config.training.activation_checkpointing
        self.blocks = nn.ModuleList(
            Block(model, config.moe, config.routing, all_dense or layer < model.dense_first_layers, recompute)
            for layer in range(model.layers)
        )

    def moe_layers(self) -> list[MoELayer]:
        """MoE layers from first to last."""
        return [block.moe for block in self.blocks if not block.is_dense]

    def initialize(self, seed: int) -> None:
        """Paper A's scheme; each parameter draws from a generator of its own name, so that models that
        share a parameter share its start within a seed.

        Embedding N(0, 1); head N(0, head_std^2), 0 in paper A; every projection into the residual stream 0;
        router N(0, d^-1/2); the rest N(0, d_in^-1/2 * min(1, sqrt(d_out/d_in))). Under paper B's losses the
        experts' outputs start non-zero: its oracle compares experts, and equal ones would all lose to the first.
        """
        for name, parameter in named_matrices(self).items():
            last = name.rsplit(".", 1)[-1]
            if name == "embedding":
                fill_normal(parameter, 1.0, seed, name)
            elif name == "head":
                fill_normal(parameter, self.config.head_std, seed, name)
            elif last in ("out", "down", "shared_down", "hidden_bias") or (
                ".experts.down." in name and not self.experts_differ
            ):
                nn.init.zeros_(parameter)
            elif ".router." in name:
                fill_normal(parameter, parameter.shape[-1] ** -0.5, seed, name)
            else:
                fill_normal(parameter, aspect_ratio_std(parameter), seed, name)

    def empty_caches(self) -> list[KVCache]:
        """One empty cache a block, for `forward`."""
        return [KVCache() for _ in self.blocks]

    def forward(self, tokens_BT: Tensor, context: RoutingContext, caches: list[KVCache] | None = None) -> GPTOutput:
        """Token ids to hidden states; use `mean_loss`, `token_losses` or `logits` on them.

        With `caches` the tokens follow those of earlier calls with the same caches, and only they are computed.
        """
        past, length = (caches[0].length if caches else 0), tokens_BT.shape[1]
        head_width = self.config.width // self.config.heads
        cos_TK, sin_TK = rotary_angles(length, head_width, self.config.rope_base, tokens_BT.device, first=past)
        x_BTD = rms_norm(F.embedding(tokens_BT, self.embedding))
        routing = []
        for index, block in enumerate(self.blocks):
            here = replace(context, layer=len(routing))
            x_BTD, output = block(x_BTD, cos_TK, sin_TK, here, caches[index] if caches else None)
            if output is not None:
                routing.append(output)
        return GPTOutput(hidden_BTD=rms_norm(x_BTD), routing=routing)

    def logits(self, hidden: Tensor) -> Tensor:
        """Float32 logits (..., V), soft-capped: cap * tanh(z / cap)."""
        logits = F.linear(hidden, self.head).float()
        cap = self.config.soft_cap
        return cap * torch.tanh(logits / cap) if cap else logits

    def mean_loss(self, hidden_BTD: Tensor, targets_BT: Tensor) -> Tensor:
        """Mean cross-entropy in nats, float32; never more than a chunk of logits is held."""
        hidden_ND, targets_N = hidden_BTD.flatten(0, 1), targets_BT.flatten()
        return HeadLoss.apply(hidden_ND, self.head, targets_N, self.config.soft_cap, self.loss_chunk_tokens)

    def token_losses(self, hidden_BTD: Tensor, targets_BT: Tensor) -> Tensor:
        """Cross-entropy of every token in nats, (B*T,), float32; holds a chunk of logits where no gradient is asked."""
        hidden_ND, targets_N = hidden_BTD.flatten(0, 1), targets_BT.flatten()
        size = self.loss_chunk_tokens
        chunks = zip(hidden_ND.split(size), targets_N.split(size), strict=True)
        return torch.cat([F.cross_entropy(self.logits(h), t, reduction="none") for h, t in chunks])
