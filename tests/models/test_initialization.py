"""Initial weights of paper A: which parameters are zero, and the deviation of all others."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from moe_replication.config.run import RunConfig
from moe_replication.models.gpt import GPT
from moe_replication.models.initialization import aspect_ratio_std, fill_normal, named_matrices

WIDTH = 128


def _parameters(config: RunConfig, seed: int = 0, **model: object) -> dict[str, torch.Tensor]:
    """Initial parameters of a two-layer model of width 128 and two heads."""
    made = GPT(replace(config, model=replace(config.model, width=WIDTH, **model)))
    made.initialize(seed)
    return {name: parameter.detach() for name, parameter in made.named_parameters()}


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((8, 2), 2**-0.5), ((2, 8), 8**-0.5 * 0.5), ((4, 4), 0.5), ((3, 2, 8), 8**-0.5 * 0.5)],
)
def test_aspect_ratio_deviation_on_paper(shape, expected):
    assert aspect_ratio_std(torch.empty(shape)) == pytest.approx(expected)


def test_zero_are_the_head_and_every_projection_into_the_stream(smoke):
    parameters = _parameters(smoke["tc"])
    assert {name for name, p in parameters.items() if p.count_nonzero() == 0} == {
        "head",
        "blocks.0.attention.out",
        "blocks.0.ffn.down",
        "blocks.1.attention.out",
        "blocks.1.moe.experts.down.0",
        "blocks.1.moe.shared_down",
    }


@pytest.mark.parametrize(
    ("name", "std"),
    [
        ("embedding", 1.0),
        ("blocks.0.attention.query", WIDTH**-0.5),
        # One key and value head of two: 64 of 128 rows, so times sqrt(64/128).
        ("blocks.0.attention.key", WIDTH**-0.5 * 0.5**0.5),
        ("blocks.0.attention.value", WIDTH**-0.5 * 0.5**0.5),
        ("blocks.0.ffn.up", WIDTH**-0.5),
        ("blocks.1.moe.experts.up.0", WIDTH**-0.5),
        ("blocks.1.moe.shared_up", WIDTH**-0.5),
        # No aspect-ratio factor: 16 rows of 128 would make it sqrt(8) times smaller.
        ("blocks.1.moe.router.weight", WIDTH**-0.5),
    ],
)
def test_deviation_of_every_kind_of_matrix(smoke, name, std):
    """Mean, deviation and the normal's share within one deviation, each within four standard errors."""
    values = _parameters(smoke["tc"], kv_heads=1)[name]
    count = values.numel()
    assert values.mean().item() == pytest.approx(0.0, abs=4 * std * count**-0.5)
    assert values.std().item() == pytest.approx(std, rel=4 * (2 * count) ** -0.5)
    within = (values.abs() < std).float().mean().item()
    assert within == pytest.approx(0.6827, abs=4 * (0.6827 * 0.3173 / count) ** 0.5)


def test_experts_of_the_ecology_losses_start_with_outputs(smoke):
    """Paper B's oracle compares experts: down (d, 2d) has (2d)^-1/2 * sqrt(1/2)."""
    config = smoke["l1"]
    config = replace(config, moe=replace(config.moe, tiers=(16,), tier_multiples=(2.0,)))
    down = _parameters(config)["blocks.1.moe.experts.down.0"]
    assert down.shape == (16, WIDTH, 2 * WIDTH)
    assert down.std().item() == pytest.approx(0.5 * WIDTH**-0.5, rel=0.01)


@pytest.mark.parametrize("condition", ["tc", "l1"])
def test_storages_start_from_the_same_experts(smoke, condition):
    """`l1` has non-zero down projections, which stand transposed one after the other when concatenated."""
    config = smoke[condition]
    config = replace(config, moe=replace(config.moe, tiers=(16,), tier_multiples=(2.0,)))
    models = [GPT(replace(config, moe=replace(config.moe, storage=name))) for name in ("per_expert", "concatenated")]
    for model in models:
        model.initialize(7)
    stacked, tall = (model.moe_layers()[0].experts for model in models)
    width, hidden = config.model.width, 2 * config.model.width
    assert tall.up[0].shape == tall.down[0].shape == (16 * hidden, width)
    for expert in range(16):
        mine = slice(expert * hidden, (expert + 1) * hidden)
        assert torch.equal(tall.up[0][mine], stacked.up[0][expert])
        assert torch.equal(tall.down[0][mine].T, stacked.down[0][expert])
    assert stacked.up[0].std() > 0
    assert (stacked.down[0].std() > 0) == (condition == "l1")


def test_matrices_are_the_parameters_themselves(smoke):
    model = GPT(smoke["tc-aux-concat"])
    matrices = named_matrices(model)
    assert matrices.keys() == dict(model.named_parameters()).keys()
    for matrix in matrices.values():
        fill_normal(matrix, 0.0, 0, "any")
    assert all(parameter.count_nonzero() == 0 and parameter.is_leaf for parameter in model.parameters())
