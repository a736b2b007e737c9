"""Router and experts joined.

Legend: B sequences, T positions, N = B*T tokens, D model width, E experts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moe_replication.config.sections import MoEConfig, RoutingConfig
from moe_replication.layers.experts import Experts, expert_ffn
from moe_replication.layers.recompute import recomputed
from moe_replication.routing import RULES, RoutingContext, RoutingState, Selection
from moe_replication.routing.update import record_pass


@dataclass(kw_only=True)
class MoEOutput:
    """Output and what the losses and diagnostics need to see of the routing.

    `average_E` is the cut-off's moving average before this pass; `residual_ND` is the stream that a language
    model adds `y` to, and where it computes activations again it lets go of `y` then.
    """

    y: Tensor | None
    x_ND: Tensor
    logits_NE: Tensor
    selection: Selection
    average_E: Tensor
    residual_ND: Tensor | None = None


class Router(nn.Module):
    """Router logits in float32 whatever the precision of the model: linear, or an MLP with ReLU."""

    def __init__(self, width: int, hidden: int, experts: int) -> None:
        super().__init__()
        self.hidden = nn.Parameter(torch.empty(hidden, width)) if hidden else None
        self.hidden_bias = nn.Parameter(torch.zeros(hidden)) if hidden else None
        self.weight = nn.Parameter(torch.empty(experts, hidden or width))

    def forward(self, x_ND: Tensor) -> Tensor:
        """Raw logits (N, E), float32."""
        with torch.autocast(device_type=x_ND.device.type, enabled=False):
            h = x_ND.float()
            if self.hidden is not None:
                h = F.relu(F.linear(h, self.hidden.float(), self.hidden_bias.float()))
            return F.linear(h, self.weight.float())


class MoELayer(nn.Module):
    """Routed experts plus an optional shared expert that sees every token.

    `state` is no buffer: it stays in float32 when the module is cast, and the checkpoint takes it from
    `RoutingState.state_dict`.
    """

    def __init__(self, width: int, out_width: int, moe: MoEConfig, routing: RoutingConfig) -> None:
        super().__init__()
        self.routing = routing
        self.router = Router(width, moe.router_hidden, moe.experts)
        hidden_widths = tuple(round(multiple * width) for multiple in moe.tier_multiples)
        self.experts = Experts(width, out_width, moe.tiers, hidden_widths, moe.storage)
        shared = round(moe.shared_multiple * width)
        self.shared_up = nn.Parameter(torch.empty(shared, width)) if shared else None
        self.shared_down = nn.Parameter(torch.empty(out_width, shared)) if shared else None
        self.state = RoutingState.empty(moe.experts)

    def idle_parameters(self) -> int:
        """Parameters of routed experts that a token does not meet on average, tiers weighted by their experts."""
        routed = sum(parameter.numel() for parameter in self.experts.parameters())
        return routed - round(routed * self.routing.top_k / sum(self.experts.tiers))

    def forward(self, x: Tensor, context: RoutingContext, recompute: bool = False) -> MoEOutput:
        """x (..., D) -> y (..., out_width); in training the pass is recorded in `state`.

        With `recompute` router and experts are computed again in the backward pass. The selection between them is not:
        it is made, recorded and agreed on with other ranks once.
        """
        x_ND = x.reshape(-1, x.shape[-1])
        logits_NE = recomputed(self.router, x_ND, enabled=recompute)
        average_E = self.state.cutoff_E
        selection = RULES[self.routing.rule](logits_NE, self.state, self.routing, context)
        if context.training:
            record_pass(self.state, selection)
        y_ND = recomputed(self._mixture, x_ND, selection.mask_NE, selection.gates_NE, enabled=recompute)
        y = y_ND.reshape(*x.shape[:-1], y_ND.shape[-1])
        return MoEOutput(y=y, x_ND=x_ND, logits_NE=logits_NE, selection=selection, average_E=average_E)

    def _mixture(self, x_ND: Tensor, mask_NE: Tensor, gates_NE: Tensor) -> Tensor:
        """Chosen experts by their gates, plus the shared expert."""
        y_ND = self.experts(x_ND, mask_NE, gates_NE)
        return y_ND if self.shared_up is None else y_ND + expert_ffn(x_ND, self.shared_up, self.shared_down)
