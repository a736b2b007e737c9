from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from moe_replication.config.run import RunConfig
from moe_replication.layers.attention import rms_norm
from moe_replication.models.gpt import GPT
from moe_replication.models.initialization import aspect_ratio_std, fill_normal
from moe_replication.models.tiered_moe import classification_losses
from moe_replication.routing import RoutingContext
from moe_replication.training.record import _counts

CONTEXT = RoutingContext(training=True, pool_tokens=64, warming_up=True)


def _model(config: RunConfig, seed: int = 0) -> GPT:
    model = GPT(config)
    model.initialize(seed)
    return model


def _tokens(config: RunConfig, batch: int = 1, length: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, config.data.vocab_size, (batch, length), generator=generator)


@pytest.mark.parametrize(
    ("rule", "layers", "width", "heads", "total", "active"),
    [
        # Paper A, models: dense 12 * 12 d^2 + 2 V d; MoE adds 60 d^2 + 16 d to every layer but the first.
        ("dense", 12, 768, 6, 185_597_952, 185_597_952),
        ("token_choice", 12, 768, 6, 575_016_960, 185_733_120),
        ("expert_threshold", 12, 768, 6, 575_016_960, 185_733_120),
        ("dense", 20, 1280, 10, 560_988_160, 560_988_160),
        ("expert_choice", 20, 1280, 10, 2_429_153_280, 561_377_280),
    ],
)
def test_parameter_counts_of_the_paper(smoke, rule, layers, width, heads, total, active):
    config = smoke["tc"]
    config = replace(
        config,
        data=replace(config.data, vocab_size=65536),
        model=replace(config.model, layers=layers, width=width, heads=heads),
        routing=replace(config.routing, rule=rule),
    )
    with torch.device("meta"):
        model = GPT(config)
    counts = _counts(SimpleNamespace(model=model, moe_layers=model.moe_layers, steps=1, samples_per_step=1), config)
    assert (counts["parameters_total"], counts["parameters_active"]) == (total, active)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((8, 2), 2**-0.5), ((2, 8), 8**-0.5 * 0.5), ((4, 4), 0.5), ((3, 2, 8), 8**-0.5 * 0.5)],
)
def test_aspect_ratio_deviation_on_paper(shape, expected):
    assert aspect_ratio_std(torch.empty(shape)) == pytest.approx(expected)


def test_initial_weights_follow_the_paper(smoke):
    config = replace(smoke["tc"], model=replace(smoke["tc"].model, width=128))
    parameters = dict(_model(config).named_parameters())
    zero = {name for name, p in parameters.items() if p.count_nonzero() == 0}
    ends = (".out", ".ffn.down", ".shared_down", ".experts.down.0")
    assert zero == {"head"} | {name for name in parameters if name.endswith(ends)}
    d = 128
    expected = {
        "embedding": 1.0,
        "blocks.0.attention.query": d**-0.5,
        "blocks.0.ffn.up": d**-0.5,
        "blocks.1.moe.experts.up.0": d**-0.5,
        "blocks.1.moe.router.weight": d**-0.5,
    }
    for name, std in expected.items():
        values = parameters[name].detach()
        assert values.std().item() == pytest.approx(std, rel=0.06), name
        assert abs(values.mean().item()) < 0.05 * std + 3 * std / math.sqrt(values.numel()), name


def test_router_keeps_its_width_rule_when_it_is_wide(smoke):
    """Router N(0, d^-1/2) has no aspect-ratio factor: 16 x d would be four times smaller at d = 256."""
    config = smoke["tc"]
    config = replace(config, model=replace(config.model, width=256))
    router = dict(_model(config).named_parameters())["blocks.1.moe.router.weight"]
    assert router.std().item() == pytest.approx(1 / 16, rel=0.05)


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
    model, tokens = _model(config), _tokens(config)
    losses = model.token_losses(model(tokens, CONTEXT).hidden_BTD, tokens.roll(-1, 1))
    assert losses.shape == (64,)
    torch.testing.assert_close(losses, torch.full_like(losses, math.log(config.data.vocab_size)))


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
