from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from moe_replication.config import load_project
from moe_replication.config.run import RunConfig
from moe_replication.layers.attention import rotary_angles
from moe_replication.layers.norms import rms_norm
from moe_replication.models.gpt import GPT, DenseFFN
from moe_replication.models.initialization import fill_normal
from moe_replication.models.tiered_moe import classification_losses
from moe_replication.routing import RoutingContext
from moe_replication.training.record import _counts

CONTEXT = RoutingContext(training=True, pool_tokens=64, warming_up=True)
EVALUATION = RoutingContext(training=False, pool_tokens=64)


def _model(config: RunConfig, seed: int = 0) -> GPT:
    model = GPT(config)
    model.initialize(seed)
    return model


def _tokens(config: RunConfig, batch: int = 1, length: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, config.data.vocab_size, (batch, length), generator=generator)


@pytest.fixture(scope="module")
def paper() -> dict[str, RunConfig]:
    """Paper A's settings at its own scale, by condition."""
    project = load_project(Path(__file__).parents[2], {"scale": "paper", "papers": ["expert-threshold"]})
    return {run.condition: run.config for run in project.runs}


@pytest.mark.parametrize(
    ("condition", "total", "active"),
    [
        # Paper A, models: dense 12 * 12 d^2 + 2 V d; MoE adds 60 d^2 + 16 d to every layer but the first.
        ("dense", 185_597_952, 185_597_952),
        ("tc", 575_016_960, 185_733_120),
        ("ec-batch", 575_016_960, 185_733_120),
        ("et", 575_016_960, 185_733_120),
        ("tc-aux-concat", 575_016_960, 185_733_120),
        # Two routed experts a token take the shared expert's place: 4 d^2 fewer in eleven layers.
        ("et-no-shared", 549_064_704, 185_733_120),
        ("d20-dense", 560_988_160, 560_988_160),
        ("d20-tc-aux", 2_429_153_280, 561_377_280),
        ("d20-et", 2_429_153_280, 561_377_280),
    ],
)
def test_parameter_counts_of_the_paper(paper, condition, total, active):
    """`active` is what a token meets at its target fan-out, routers and the whole embedding counted."""
    config = paper[condition]
    with torch.device("meta"):
        model = GPT(config)
    counted = sum(parameter.numel() for parameter in model.parameters())
    routed = sum(parameter.numel() for layer in model.moe_layers() for parameter in layer.experts.parameters())
    idle = routed * (config.moe.experts - config.routing.top_k) // config.moe.experts
    assert (counted, counted - idle) == (total, active)
    counts = _counts(SimpleNamespace(model=model, moe_layers=model.moe_layers, steps=1, samples_per_step=1), config)
    assert (counts["parameters_total"], counts["parameters_active"]) == (total, active)


def test_grouped_query_attention_has_fewer_parameters(paper):
    """Two of six key and value heads, as the paper's text says: 2 * (4/6) d^2 fewer in each of 12 layers."""
    config = paper["dense"]
    with torch.device("meta"):
        model = GPT(replace(config, model=replace(config.model, kv_heads=2)))
    assert sum(parameter.numel() for parameter in model.parameters()) == 185_597_952 - 12 * 2 * 512 * 768


def test_models_of_a_seed_share_what_they_have_in_common(smoke):
    dense, moe, same, other = (
        dict(_model(smoke[condition], seed).named_parameters())
        for condition, seed in (("dense", 3), ("et", 3), ("tc", 3), ("et", 4))
    )
    shared = dense.keys() & moe.keys()
    assert {"embedding", "head", "blocks.0.ffn.up", "blocks.1.attention.query"} <= shared
    assert all(torch.equal(dense[name], moe[name]) for name in shared)
    assert all(torch.equal(same[name], moe[name]) for name in moe)
    assert not torch.equal(moe["embedding"], other["embedding"])
    assert not torch.equal(moe["blocks.0.attention.query"], moe["blocks.0.attention.key"])


@pytest.mark.parametrize("condition", ["dense", "tc", "tc-aux", "tc-loss-free", "ec-batch", "et"])
def test_initial_loss_is_ln_of_the_vocabulary(smoke, condition):
    config = smoke[condition]
    config = replace(config, routing=replace(config.routing, balance_pool="process"))
    model, tokens = _model(config), _tokens(config)
    losses = model.token_losses(model(tokens, CONTEXT).hidden_BTD, tokens.roll(-1, 1))
    assert losses.shape == (64,)
    torch.testing.assert_close(losses, torch.full_like(losses, math.log(config.data.vocab_size)))


def test_dense_ffn_on_paper():
    """relu(x W_up)^2 W_down: x = (1, 2) gives the hidden (3, -1, 0), squared (9, 0, 0)."""
    ffn = DenseFFN(2, 3)
    with torch.no_grad():
        ffn.up.copy_(torch.tensor([[1.0, 1.0], [1.0, -1.0], [2.0, -1.0]]))
        ffn.down.copy_(torch.tensor([[1.0, 7.0, 7.0], [-2.0, 7.0, 7.0]]))
    assert ffn(torch.tensor([1.0, 2.0])).tolist() == [9.0, -18.0]


def test_block_adds_attention_and_ffn_of_the_normalised_stream(smoke, random_model):
    config = smoke["et"]
    model = random_model(config)
    x = 3.0 * torch.randn(2, 8, config.model.width)
    cos, sin = rotary_angles(8, config.model.width // config.model.heads, config.model.rope_base, x.device)
    for block in model.blocks[:2]:
        found, routed = block(x, cos, sin, EVALUATION)
        stream = x + block.attention(rms_norm(x), cos, sin)
        added = block.ffn(rms_norm(stream)) if block.is_dense else block.moe(rms_norm(stream), EVALUATION).y
        torch.testing.assert_close(found, stream + added)
        assert (routed is None) == block.is_dense
    torch.testing.assert_close(routed.residual_ND, stream.flatten(0, 1))


def test_positions_reach_the_model_through_rotation(smoke, random_model):
    """Two equal tokens at different positions see different pasts, unless every past token is equal too."""
    model = random_model(smoke["dense"])
    with torch.no_grad():
        alike = model(torch.full((1, 6), 3), EVALUATION).hidden_BTD[0]
        mixed = model(torch.tensor([[3, 7, 3, 9, 3, 3]]), EVALUATION).hidden_BTD[0]
    torch.testing.assert_close(alike, alike[:1].expand_as(alike))
    assert (mixed[2] - mixed[4]).abs().max() > 1e-2


def test_oracle_can_tell_experts_apart_at_the_start(smoke):
    """Paper B's oracle compares experts through the head; a zero head would make them all equal."""
    config = smoke["l1"]
    model, tokens = _model(config), _tokens(config)
    routed = model(tokens, CONTEXT).routing[0]
    after = routed.residual_ND + model.moe_layers()[0].experts.all_outputs(routed.x_ND)
    best = classification_losses(model.logits(after), tokens.flatten()).argmin(dim=0)
    assert len(best.unique()) > 1


@pytest.mark.parametrize(("cap", "raw", "expected"), [(15.0, 30.0, 15 * math.tanh(2)), (0.0, 30.0, 30.0)])
def test_soft_cap_on_paper(smoke, cap, raw, expected):
    config = replace(smoke["dense"], model=replace(smoke["dense"].model, soft_cap=cap))
    model = GPT(config)
    with torch.no_grad():
        model.head.fill_(raw / config.model.width)
    logits = model.logits(torch.ones(1, config.model.width))
    torch.testing.assert_close(logits, torch.full_like(logits, expected))


@pytest.mark.parametrize("chunk", [1, 7, 32, 63])
def test_chunked_loss_equals_the_whole_with_gradients(smoke, chunk):
    config = smoke["dense"]
    results = []
    for size in (chunk, 4096):
        model = GPT(replace(config, training=replace(config.training, loss_chunk_tokens=size)))
        fill_normal(model.head, 0.5, 0, "head")
        hidden = torch.randn(2, 32, config.model.width, generator=torch.Generator().manual_seed(1)).requires_grad_()
        losses = model.token_losses(hidden, _tokens(config, 2, 32))
        with torch.no_grad():
            assert torch.allclose(model.token_losses(hidden, _tokens(config, 2, 32)), losses)
        results.append((losses, *torch.autograd.grad(losses.mean(), [hidden, model.head])))
    for chunked, whole in zip(*results, strict=True):
        torch.testing.assert_close(chunked, whole)


def test_losses_are_float32_under_bfloat16(smoke):
    config = smoke["et"]
    model = _model(config).bfloat16()
    output = model(_tokens(config), CONTEXT)
    assert output.hidden_BTD.dtype == torch.bfloat16
    assert output.routing[0].logits_NE.dtype == torch.float32
    assert model.token_losses(output.hidden_BTD, _tokens(config)).dtype == torch.float32
    assert model.moe_layers()[0].state.cutoff_sum_E.dtype == torch.float32


def test_stream_starts_with_the_normalised_embedding(smoke):
    """At the start every block adds nothing, so the stream stays what the embedding gave."""
    config = smoke["tc"]
    model, tokens = _model(config), _tokens(config)
    output = model(tokens, CONTEXT)
    embedded = rms_norm(model.embedding[tokens])
    torch.testing.assert_close(output.routing[-1].residual_ND, embedded[0])
    torch.testing.assert_close(output.hidden_BTD, rms_norm(embedded))


def test_dense_first_layers_and_routing_order(smoke):
    config = smoke["tc"]
    config = replace(config, model=replace(config.model, layers=4, dense_first_layers=1))
    model = _model(config)
    assert [block.is_dense for block in model.blocks] == [True, False, False, False]
    assert len(model(_tokens(config), CONTEXT).routing) == len(model.moe_layers()) == 3
    assert _model(smoke["dense"]).moe_layers() == []
