"""The gate that a candidate passes before it is timed: outputs and every gradient against a double loop.

Legend: N tokens, D model width, H hidden width, E experts, A assignments of one expert.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

# Largest deviation as a share of the tensor's largest entry, by the dtype that the candidate computes in.
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 3e-2}
# The double loop computes in more digits than the candidate.
REFERENCE_DTYPE = {torch.float32: torch.float64, torch.bfloat16: torch.float32}
FAN_OUTS = ("balanced", "skewed", "empty")
SKEW = 0.4  # share of the tokens that the first expert takes under "skewed"


class ParityError(Exception):
    """A candidate's result is not that of the double loop."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Routed experts with everything that a forward and a backward pass need; every token goes to one expert."""

    x_ND: Tensor
    up_EHD: Tensor
    down_EDH: Tensor
    expert_N: Tensor
    gate_N: Tensor
    gradient_ND: Tensor

    @property
    def experts(self) -> int:
        """Number of experts."""
        return len(self.up_EHD)

    @property
    def counts(self) -> Tensor:
        """Tokens of every expert."""
        return torch.bincount(self.expert_N, minlength=self.experts)

    @property
    def flops(self) -> float:
        """Of the matrix products, forward and backward: six of N x D x H, a multiplication and an addition each."""
        return 12.0 * self.x_ND.numel() * self.up_EHD.shape[1]


def routed(fan_out: str, tokens: int, experts: int) -> Tensor:
    """The expert of every token in random order; `FAN_OUTS` names the patterns."""
    if fan_out == "skewed":
        first = round(SKEW * tokens)
        rest = 1 + torch.arange(tokens - first) % (experts - 1)
        assigned = torch.cat([torch.zeros(first, dtype=torch.int64), rest])
    else:
        busy = experts - experts // 4 if fan_out == "empty" else experts
        assigned = torch.arange(tokens) % busy
    return assigned[torch.randperm(tokens)]


def make_problem(
    width: int, hidden: int, tokens: int, experts: int, fan_out: str, dtype: torch.dtype, seed: int = 0
) -> Problem:
    """Random values of the scale that training meets; gates in float32, as routers give them."""
    torch.manual_seed(seed)
    return Problem(
        x_ND=torch.randn(tokens, width).to(dtype),
        up_EHD=(torch.randn(experts, hidden, width) * width**-0.5).to(dtype),
        down_EDH=(torch.randn(experts, width, hidden) * hidden**-0.5).to(dtype),
        expert_N=routed(fan_out, tokens, experts),
        gate_N=torch.rand(tokens),
        gradient_ND=torch.randn(tokens, width).to(dtype),
    )


def double_loop(problem: Problem, block: int = 256) -> dict[str, Tensor]:
    """Output and gradients by a loop over experts and, within, over blocks of tokens; derivatives written out.

    `block` = 1 is the loop over experts and single tokens.
    """
    dtype = REFERENCE_DTYPE[problem.x_ND.dtype]
    x_ND, gradient_ND, gate_N = (t.to(dtype) for t in (problem.x_ND, problem.gradient_ND, problem.gate_N))
    found = {
        "output": torch.zeros_like(x_ND),
        "gradient of x": torch.zeros_like(x_ND),
        "gradient of gates": torch.zeros_like(gate_N),
        "gradient of up": torch.zeros_like(problem.up_EHD, dtype=dtype),
        "gradient of down": torch.zeros_like(problem.down_EDH, dtype=dtype),
    }
    for expert in range(problem.experts):
        up_HD, down_DH = problem.up_EHD[expert].to(dtype), problem.down_EDH[expert].to(dtype)
        for rows_A in (problem.expert_N == expert).nonzero().flatten().split(block):
            x_AD, dy_AD, gate_A1 = x_ND[rows_A], gradient_ND[rows_A], gate_N[rows_A, None]
            positive_AH = (x_AD @ up_HD.T).clamp(min=0)
            out_AD = positive_AH.square() @ down_DH.T
            found["output"][rows_A] = gate_A1 * out_AD
            found["gradient of gates"][rows_A] = (out_AD * dy_AD).sum(dim=1)
            found["gradient of down"][expert] += (gate_A1 * dy_AD).T @ positive_AH.square()
            before_AH = 2 * positive_AH * ((gate_A1 * dy_AD) @ down_DH)
            found["gradient of up"][expert] += before_AH.T @ x_AD
            found["gradient of x"][rows_A] = before_AH @ up_HD
    return found


def check(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], dtype: torch.dtype) -> float:
    """Largest deviation of all tensors, each relative to its largest entry; ParityError names the one that fails."""
    worst = 0.0
    for name, want in expected.items():
        got = found[name]
        if got.shape != want.shape:
            raise ParityError(f"{name} has shape {tuple(got.shape)}, not {tuple(want.shape)}")
        error = ((got.to(want.dtype) - want).abs().max() / want.abs().max()).item()
        if not error <= TOLERANCE[dtype]:
            raise ParityError(f"{name} deviates by {error:.2g} of its largest entry; {TOLERANCE[dtype]:g} is allowed")
        worst = max(worst, error)
    return worst
