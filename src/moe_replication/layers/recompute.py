"""Activation checkpointing: parts of a layer that are computed again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.utils.checkpoint import checkpoint


def recomputed(function: Callable[..., Tensor], *inputs: object, enabled: bool = True) -> Tensor:
    """function(*inputs); where `enabled`, autograd keeps the inputs alone and calls `function` again going back.

    For functions without side effects and without random draws: the second call must give what the first gave.
    """
    if not enabled:
        return function(*inputs)
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
