"""What the tests of this folder share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from moe_replication.config.run import RunConfig
from moe_replication.models.gpt import GPT
from moe_replication.models.initialization import fill_normal, named_matrices


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Inputs that a test draws without a generator are the same in every order of tests."""
    torch.manual_seed(0)


@pytest.fixture
def random_model() -> Callable[[RunConfig], GPT]:
    """random_model(config): three layers, every weight random, cut-offs and biases that differ by expert."""

    def make(config: RunConfig) -> GPT:
        config = replace(config, model=replace(config.model, layers=3))
        model = GPT(config)
        for name, parameter in named_matrices(model).items():
            fill_normal(parameter, 0.2, 0, name)
        for index, layer in enumerate(model.moe_layers()):
            layer.state.cutoff_E = torch.linspace(-1.0, 2.0, config.moe.experts).roll(index)
            layer.state.bias_E = torch.linspace(-0.5, 0.5, config.moe.experts)
        return model

    return make
