"""Paper A's language model as an ordinary PyTorch programme, the reference that `step` compares ours with.

float32, linear layers as modules, a loop over experts with index_add, all logits at once, torch's own attention and
optimisers, no DeepSpeed; one process. Routing is written anew here, so that agreement with ours says something.
Legend: B sequences, T positions, N = B*T tokens, D model width, E experts, M tokens of a pool.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.plain_routing import Routed, Router
from moe_replication.config.run import RunConfig
from moe_replication.models.gpt import GPT


def norm(x: Tensor) -> Tensor:
    """RMSNorm without weights."""
    return F.rms_norm(x, (x.shape[-1],))


class FeedForward(nn.Module):
    """relu(x W_up)^2 W_down."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.relu(self.up(x)).square())


class Attention(nn.Module):
    """Causal self-attention with rotary positions, then normalised queries and keys."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x_BTD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, width = x_BTD.shape
        split = (batch, length, self.heads, width // self.heads)
        query = norm(rotate(self.query(x_BTD).view(split).transpose(1, 2), cos, sin))
        key = norm(rotate(self.key(x_BTD).view(split).transpose(1, 2), cos, sin))
        value = self.value(x_BTD).view(split).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, width))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions on the pairs (first half, second half) of every head."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos + second * sin, second * cos - first * sin), dim=-1)


class MoE(nn.Module):
    """A router, its experts one after the other, and the shared expert."""

    def __init__(self, config: RunConfig, pool_tokens: int) -> None:
        super().__init__()
        width, moe = config.model.width, config.moe
        self.router = Router(width, moe.experts, config.routing, pool_tokens)
        (multiple,) = moe.tier_multiples
        self.experts = nn.ModuleList(FeedForward(width, round(multiple * width)) for _ in range(moe.experts))
        self.shared = FeedForward(width, round(moe.shared_multiple * width))

    def forward(self, x_BTD: Tensor, warming_up: bool) -> tuple[Tensor, Routed]:
        x_ND = x_BTD.reshape(-1, x_BTD.shape[-1])
        routed = self.router(x_ND, warming_up)
        y_ND = self.shared(x_ND)
        for number, expert in enumerate(self.experts):
            chosen = routed.mask_NE[:, number].nonzero().squeeze(1)
            gates = routed.gates_NE[chosen, number].unsqueeze(1)
            y_ND = y_ND.index_add(0, chosen, gates * expert(x_ND[chosen]))
        return y_ND.view_as(x_BTD), routed


class Block(nn.Module):
    """Attention and feed-forward, dense or MoE."""

    def __init__(self, config: RunConfig, dense: bool, pool_tokens: int) -> None:
        super().__init__()
        model = config.model
        self.attention = Attention(model.width, model.heads)
        self.ffn = FeedForward(model.width, round(model.ffn_multiple * model.width)) if dense else None
        self.moe = None if dense else MoE(config, pool_tokens)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, warming_up: bool) -> tuple[Tensor, Routed | None]:
        x = x + self.attention(norm(x), cos, sin)
        if self.moe is None:
            return x + self.ffn(norm(x)), None
        y, routed = self.moe(norm(x), warming_up)
        return x + y, routed


class PlainGPT(nn.Module):
    """The whole model; calling it gives the training loss."""

    def __init__(self, config: RunConfig) -> None:
        super().__init__()
        model, vocabulary = config.model, config.data.vocab_size
        self.soft_cap = model.soft_cap
        self.embedding = nn.Embedding(vocabulary, model.width)
        self.head = nn.Linear(model.width, vocabulary, bias=False)
        all_dense = config.routing.rule == "dense"
        self.blocks = nn.ModuleList(
            Block(config, all_dense or layer < model.dense_first_layers, config.pool_tokens)
            for layer in range(model.layers)
        )
        head_width, length = model.width // model.heads, config.data.sequence_length
        frequencies = model.rope_base ** (-torch.arange(0, head_width, 2).float() / head_width)
        angles = torch.outer(torch.arange(length).float(), frequencies)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, tokens_BT: Tensor, targets_BT: Tensor, warming_up: bool = False) -> Tensor:
        """Mean cross-entropy plus the auxiliary losses."""
        x_BTD, extra = norm(self.embedding(tokens_BT)), 0.0
        for block in self.blocks:
            x_BTD, routed = block(x_BTD, self.cos, self.sin, warming_up)
            if routed is not None and routed.aux_loss is not None:
                extra = extra + routed.aux_loss
        logits = self.head(norm(x_BTD))
        logits = self.soft_cap * torch.tanh(logits / self.soft_cap)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets_BT.view(-1)) + extra

    def routers(self) -> list[Router]:
        """The routers from first to last."""
        return [block.moe.router for block in self.blocks if block.moe is not None]

    @torch.no_grad()
    def take(self, model: GPT) -> None:
        """Copy the weights and cut-offs of our model."""
        own = dict(self.named_parameters())
        for name, tensor in flat_names(dict(model.named_parameters())).items():
            own.pop(f"{name}.weight").copy_(tensor)
        if own:
            raise ValueError(f"parameters without a counterpart in ours: {', '.join(own)}")
        for router, layer in zip(self.routers(), model.moe_layers(), strict=True):
            router.cutoff_E.copy_(layer.state.cutoff_E)


def flat_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors by the names of the plain model's modules, the stacked experts one by one."""
    found = {}
    for name, tensor in tensors.items():
        if ".experts." in name:
            prefix, _, side = name.removesuffix(".0").rpartition(".")
            found |= {f"{prefix}.{number}.{side}": part for number, part in enumerate(tensor)}
        else:
            found[name.replace("shared_", "shared.").replace("router.weight", "router.linear")] = tensor
    return found
