"""Ways to compute routed experts: ours, the plain ones, and those of other libraries, behind one interface.

Each starts from what its own router would hand over and ends with the gradients of tokens, gates and all weights.
Legend: N tokens, D model width, H hidden width, E experts, A tokens of one expert, C slots of an expert.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.parity import Problem
from moe_replication.data.archives import import_torchvision
from moe_replication.layers.experts import Experts, expert_ffn

# Where `make benchmark` puts libraries that runs do not need.
PEERS = Path(__file__).parents[1] / "build/peers"
OURS, LOOP, PADDED = "ours", "loop over experts", "padded bmm"
HF_EAGER, HF_GROUPED, DEEPSPEED = "transformers eager", "transformers grouped_mm", "deepspeed"


class Candidate:
    """Leaves of one problem and a pass over them; `forward` is what differs."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.x_ND = problem.x_ND.clone().requires_grad_()
        self.gates = self.make_gates().requires_grad_()
        self.up_EHD, self.down_EDH = nn.Parameter(problem.up_EHD), nn.Parameter(problem.down_EDH)

    def make_gates(self) -> Tensor:
        """The gates in the form that `forward` takes; a gate a token unless overridden."""
        return self.problem.gate_N.clone()

    def forward(self) -> Tensor:
        """(N, D) from the leaves."""
        raise NotImplementedError

    def both_ways(self) -> Tensor:
        """Forward and backward; leaves the gradients and returns the output."""
        y_ND = self.forward()
        y_ND.backward(self.problem.gradient_ND)
        return y_ND.detach()

    def step(self) -> None:
        """Forward and backward without a trace, so that candidates in turn never hold gradients side by side."""
        self.both_ways()
        for leaf in (self.x_ND, self.gates, *self.weights()):
            leaf.grad = None

    def weights(self) -> list[Tensor]:
        """Every leaf that holds weights."""
        return [self.up_EHD, self.down_EDH]

    def weight_gradients(self) -> tuple[Tensor, Tensor]:
        """Gradients of up and down, stacked over experts."""
        return self.up_EHD.grad, self.down_EDH.grad

    def gate_gradient(self) -> Tensor:
        """Gradient of every token's gate, (N,)."""
        return self.gates.grad.flatten()

    def results(self) -> dict[str, Tensor]:
        """What parity.check compares, from a pass of its own."""
        output = self.both_ways()
        up, down = self.weight_gradients()
        return {
            "output": output,
            "gradient of x": self.x_ND.grad,
            "gradient of gates": self.gate_gradient(),
            "gradient of up": up,
            "gradient of down": down,
        }


class Ours(Candidate):
    """moe_replication.layers.experts.Experts, from a mask and gates (N, E)."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        experts, hidden, width = problem.up_EHD.shape
        self.module = Experts(width, width, (experts,), (hidden,), "per_expert")
        self.module.up[0], self.module.down[0] = self.up_EHD, self.down_EDH
        self.mask_NE = F.one_hot(problem.expert_N, experts).bool()

    def make_gates(self) -> Tensor:
        return self.problem.gate_N[:, None].repeat(1, self.problem.experts)

    def gate_gradient(self) -> Tensor:
        return self.gates.grad.gather(1, self.problem.expert_N[:, None]).flatten()

    def forward(self) -> Tensor:
        return self.module(self.x_ND, self.mask_NE, self.gates)


class Loop(Candidate):
    """The plain loop: an expert's tokens are looked up, computed and added to the output, expert by expert."""

    def forward(self) -> Tensor:
        y_ND = torch.zeros_like(self.x_ND)
        for expert, (up_HD, down_DH) in enumerate(zip(self.up_EHD.unbind(), self.down_EDH.unbind(), strict=True)):
            rows_A = (self.problem.expert_N == expert).nonzero().flatten()
            out_AD = expert_ffn(self.x_ND[rows_A], up_HD, down_DH)
            y_ND = y_ND.index_add(0, rows_A, (out_AD.float() * self.gates[rows_A, None]).to(y_ND.dtype))
        return y_ND


class Padded(Candidate):
    """Two batched matrix products over experts, every expert padded with zeros to the largest load."""

    def forward(self) -> Tensor:
        experts, (tokens, width) = self.problem.experts, self.x_ND.shape
        order_N = self.problem.expert_N.argsort()
        expert_N, counts_E = self.problem.expert_N[order_N], self.problem.counts
        capacity = int(counts_E.max())
        slot_N = expert_N * capacity + torch.arange(tokens) - (counts_E.cumsum(0) - counts_E)[expert_N]
        sorted_ND = self.x_ND[order_N]
        x_ECD = sorted_ND.new_zeros(experts * capacity, width).index_copy(0, slot_N, sorted_ND)
        hidden_ECH = F.relu(torch.bmm(x_ECD.view(experts, capacity, width), self.up_EHD.mT)).square()
        out_ECD = torch.bmm(hidden_ECH, self.down_EDH.mT)
        out_ND = out_ECD.flatten(0, 1)[slot_N].float() * self.gates[order_N, None]
        return torch.zeros_like(self.x_ND).index_copy(0, order_N, out_ND.to(self.x_ND.dtype))


class Transformers(Candidate):
    """NemotronHExperts, the MoE experts of Hugging Face transformers that also are down(relu(up(x))^2)."""

    def __init__(self, problem: Problem, implementation: str) -> None:
        super().__init__(problem)
        experts, hidden, width = problem.up_EHD.shape
        config = SimpleNamespace(
            n_routed_experts=experts, hidden_size=width, moe_intermediate_size=hidden, moe_latent_size=None,
            mlp_hidden_act="relu2", _experts_implementation=implementation,
        )  # fmt: skip
        with torch.device("meta"):
            self.module = nemotron().NemotronHExperts(config)
        self.module.up_proj, self.module.down_proj = self.up_EHD, self.down_EDH

    def make_gates(self) -> Tensor:
        return self.problem.gate_N[:, None].clone()

    def forward(self) -> Tensor:
        return self.module(self.x_ND, self.problem.expert_N[:, None], self.gates)


class GivenRoutes(nn.Module):
    """In place of DeepSpeed's top-1 gate: known routes, with slots counted as that gate counts them."""

    def __init__(self, candidate: Candidate) -> None:
        super().__init__()
        self.candidate = (candidate,)  # a tuple keeps it out of the module's parameters

    def forward(self, x_ND: Tensor, used_token: Tensor | None, sparse: bool, tutel: bool) -> tuple:
        """(loss, capacity, experts, expert, slot, gate, counts), the last four by route and token."""
        problem = self.candidate[0].problem
        mask_NE = F.one_hot(problem.expert_N, problem.experts)
        slot_N = ((mask_NE.cumsum(dim=0) - 1) * mask_NE).sum(dim=1)
        counts_E = mask_NE.sum(dim=0)
        routes = problem.expert_N[None].int(), slot_N[None].int(), self.candidate[0].gates[None]
        return x_ND.new_zeros(()), counts_E.max(), problem.experts, *routes, counts_E


class DeepSpeedExpert(nn.Module):
    """One expert, as DeepSpeed's layer copies and calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = None, None

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return expert_ffn(x, self.up, self.down)


class DeepSpeed(Candidate):
    """Dispatch, experts and combination of deepspeed.moe.layer.MoE on one process; its gate is given the routes."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        layer = importlib.import_module("deepspeed.moe.sharded_moe").MOELayer
        holder = importlib.import_module("deepspeed.moe.experts").Experts(DeepSpeedExpert(), problem.experts)
        self.experts = holder.deepspeed_experts
        for expert, up_HD, down_DH in zip(self.experts, problem.up_EHD, problem.down_EDH, strict=True):
            expert.up, expert.down = nn.Parameter(up_HD), nn.Parameter(down_DH)
        self.layer = layer(GivenRoutes(self), holder, "experts", 1, problem.experts)

    def weights(self) -> list[Tensor]:
        return [weight for expert in self.experts for weight in (expert.up, expert.down)]

    def weight_gradients(self) -> tuple[Tensor, Tensor]:
        return tuple(torch.stack([getattr(expert, name).grad for expert in self.experts]) for name in ("up", "down"))

    def forward(self) -> Tensor:
        return self.layer(self.x_ND, None)


class Dense(Candidate):
    """A yardstick, no candidate: every token through one expert, the same matrix products without any dispatch."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.up_HD, self.down_DH = nn.Parameter(problem.up_EHD[0]), nn.Parameter(problem.down_EDH[0])

    def weights(self) -> list[Tensor]:
        return [self.up_HD, self.down_DH]

    def forward(self) -> Tensor:
        return expert_ffn(self.x_ND, self.up_HD, self.down_DH)


@functools.cache
def nemotron():
    """transformers' module with NemotronHExperts; its import needs a torchvision that loads."""
    if PEERS.exists() and str(PEERS) not in sys.path:
        sys.path.append(str(PEERS))
    importlib.import_module("transformers")
    import_torchvision()
    return importlib.import_module("transformers.models.nemotron_h.modeling_nemotron_h")


def available() -> tuple[dict[str, Callable[[Problem], Candidate]], dict[str, str]]:
    """Candidates by name, ours first, and why others are left out."""
    found: dict[str, Callable[[Problem], Candidate]] = {OURS: Ours, LOOP: Loop, PADDED: Padded}
    missing = dict.fromkeys(("ScatterMoE", "MegaBlocks"), "run on CUDA only")
    try:
        nemotron()
    except ImportError as error:
        missing |= dict.fromkeys((HF_EAGER, HF_GROUPED), f"not installed ({error}); make benchmark does")
    else:
        found[HF_EAGER] = functools.partial(Transformers, implementation="eager")
        found[HF_GROUPED] = functools.partial(Transformers, implementation="grouped_mm")
    try:
        importlib.import_module("deepspeed.moe.sharded_moe")
    except ImportError as error:
        missing[DEEPSPEED] = f"not installed ({error})"
    else:
        found[DEEPSPEED] = DeepSpeed
    return found, missing
