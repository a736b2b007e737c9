"""Settings and the six-token example that the routing tests share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from moe_replication.config.sections import RoutingConfig
from moe_replication.routing import RoutingContext


@pytest.fixture
def routing() -> Callable[..., RoutingConfig]:
    """routing(rule, **changes): paper A's settings with one expert a token and C = 0.5."""

    def make(rule: str = "token_choice", **changes: object) -> RoutingConfig:
        values = {
            "rule": rule,
            "top_k": 1,
            "pool": "batch",
            "comparison": "greater",
            "normalize_fanout": False,
            "fallback": False,
            "ema_beta": 0.999,
            "ema_reference_steps": None,
            "ema_bias_correction": False,
            "warmup_fraction": 0.0,
            "capacity": 0.5,
            "balance": "none",
            "balance_pool": "process",
            "aux_weight": 0.001,
            "bias_rate": 0.005,
            "renormalize": False,
            "evaluation_temperature": 1.0,
        }
        return RoutingConfig(**values | changes)

    return make


@pytest.fixture
def six() -> Tensor:
    """Router logits of 6 tokens and 3 experts, worked through on paper in the tests."""
    return torch.tensor(
        [
            [2.0, 1.0, 0.0],
            [0.5, 3.0, 1.5],
            [1.0, -1.0, 0.9],
            [-2.0, 0.0, 2.5],
            [0.3, 0.2, 0.1],
            [-0.5, 1.2, 0.7],
        ]
    )


@pytest.fixture
def training() -> RoutingContext:
    """A training pass whose pool is the six tokens."""
    return RoutingContext(training=True, pool_tokens=6)


@pytest.fixture
def evaluation() -> RoutingContext:
    """A causal pass."""
    return RoutingContext(training=False, pool_tokens=6)


@pytest.fixture
def tokens_of() -> Callable[[Tensor], list[list[int]]]:
    """tokens_of(mask_NE): the tokens of every expert."""
    return lambda mask_NE: [column.nonzero().flatten().tolist() for column in mask_NE.t()]
