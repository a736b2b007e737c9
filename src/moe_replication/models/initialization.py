"""Initial weights from a generator that depends on the run's seed and the parameter's name alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from moe_replication.layers.experts import Experts
from moe_replication.seeding import torch_generator


def aspect_ratio_std(weight: Tensor) -> float:
    """d_in^-1/2 * min(1, sqrt(d_out/d_in)) for weights stored (..., out, in) (paper A, initialisation)."""
    d_out, d_in = weight.shape[-2:]
    return d_in**-0.5 * min(1.0, math.sqrt(d_out / d_in))


@torch.no_grad()
def named_matrices(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter by name; experts' weights as (expert, out, in) views, so that every storage starts equal."""
    named: dict[str, Tensor] = dict(model.named_parameters())
    for name, module in model.named_modules():
        if isinstance(module, Experts):
            for tier, (up_EHD, down_EDH) in enumerate(module.stacks()):
                named |= {f"{name}.up.{tier}": up_EHD, f"{name}.down.{tier}": down_EDH}
    return named


@torch.no_grad()
def fill_normal(parameter: Tensor, std: float, seed: int, name: str) -> None:
    """Fill with N(0, std^2) drawn on the CPU, so that every device starts from the same numbers."""
    generator = torch_generator(seed, f"init/{name}")
    values = torch.empty(parameter.shape, dtype=torch.float32).normal_(0.0, std, generator=generator)
    parameter.copy_(values)
