"""Counted FLOPs against worked numbers, and against what torch counts in a real forward and backward pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from moe_replication.config.run import RunConfig
from moe_replication.models.gpt import GPT
from moe_replication.models.tiered_moe import TieredMoEClassifier
from moe_replication.planning.assumptions import ImageSet
from moe_replication.planning.flops import (
    convolutions,
    forward_flops,
    newton_schulz_flops,
    oracle_flops,
    orthogonalization_flops,
    recomputed_flops,
)
from moe_replication.planning.memory import layout_of
from moe_replication.planning.parameters import meta_model
from moe_replication.routing import RoutingContext
from moe_replication.training.newton_schulz import orthogonalized

# Counted and real passes agree to rounding: the rest is elementwise, which neither counts.
TOLERANCE = 1e-3
IMAGES = ImageSet(channels=3, height=12, width=8, classes=10, train=1, test=1)


def counted(run: Callable[[], object]) -> int:
    """Matrix and convolution FLOPs that torch sees; with plain attention: it has no formula for the CPU's fused one."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        run()
    return counter.get_total_flops()


def stepped(config: RunConfig) -> tuple[GPT, int]:
    """A language model and what torch counts in its training step on two sequences of 64 tokens."""
    model = GPT(config)
    model.initialize(0)
    tokens = torch.randint(0, 512, (2, 64), generator=torch.Generator().manual_seed(0))
    context = RoutingContext(training=True, pool_tokens=128)
    return model, counted(lambda: model.mean_loss(model(tokens, context).hidden_BTD, tokens).backward())


def test_dense_model_by_hand(sized):
    """Width 32, two layers, 64 positions, vocabulary 512: 2 FLOPs a weight, 4 T d a layer for the scores."""
    flops = forward_flops(meta_model(sized("dense"), None), sized("dense"), (0, 0))
    assert (flops.attention, flops.scores) == (2 * 2 * 4 * 32**2, 2 * 4 * 64 * 32)
    assert (flops.ffn, flops.head) == (2 * 2 * 8 * 32**2, 2 * 512 * 32)
    assert flops.total == flops.attention + flops.scores + flops.ffn + flops.head == 98_304


def test_moe_layer_by_hand(sized):
    """One of sixteen experts and the shared one, each of hidden width 64, cost what a dense layer does."""
    flops = forward_flops(meta_model(sized("et"), None), sized("et"), (0, 0))
    assert (flops.router, flops.experts, flops.shared) == (2 * 16 * 32, 2 * 2 * 64 * 32, 2 * 2 * 64 * 32)
    dense = forward_flops(meta_model(sized("dense"), None), sized("dense"), (0, 0))
    assert flops.total == dense.total + flops.router


@pytest.mark.parametrize(("heads", "kv_heads"), [(2, 2), (4, 1)])
@pytest.mark.parametrize("condition", ["dense", "tc"])
def test_language_model_against_torch(sized, condition, heads, kv_heads):
    config = sized(condition, width=64, layers=3)
    config = replace(config, model=replace(config.model, heads=heads, kv_heads=kv_heads))
    model, flops_of_step = stepped(config)
    assert 3 * 128 * forward_flops(model, config, (0, 0)).total == pytest.approx(flops_of_step, rel=TOLERANCE)


def test_chunked_loss_computes_the_head_once(sized):
    config = sized("dense", chunk=32)
    model, flops_of_step = stepped(config)
    flops = forward_flops(model, config, (0, 0))
    assert 128 * 3 * flops.total == pytest.approx(flops_of_step, rel=TOLERANCE)


def test_classifier_against_torch(smoke):
    """The stem's input needs no gradient, which the count takes for a pass; under 1 % of the whole."""
    config = smoke["v1"]
    model = TieredMoEClassifier(config, IMAGES.channels, IMAGES.classes)
    model.initialize(0)
    context = RoutingContext(training=True, pool_tokens=3, temperature=2.0)
    images = torch.randn(3, 3, 12, 8, generator=torch.Generator().manual_seed(0))
    # Tiers differ in cost and the router decides; all to the expert of mean cost would be exact.
    encoder = counted(lambda: model.encoder(images).sum().backward())
    flops = forward_flops(model, config, (12, 8))
    stem = 2 * model.encoder.stem.weight.numel() * 12 * 8
    assert 3 * (3 * flops.encoder - stem) == pytest.approx(encoder, rel=TOLERANCE)
    whole = counted(lambda: model(images, context).y.sum().backward())
    assert 9 * flops.total == pytest.approx(whole, rel=0.05)


def test_convolutions_and_their_positions(smoke):
    model = meta_model(smoke["v1"], IMAGES)
    positions = [count for _, count in convolutions(model.encoder, (12, 8))]
    assert positions[:2] == [96, 96]
    assert positions[-1] == 3 * 2
    assert len(positions) == sum(isinstance(module, torch.nn.Conv2d) for module in model.modules())


@pytest.mark.parametrize("shape", [(48, 16), (16, 48), (32, 32)])
def test_newton_schulz_against_what_runs(shape):
    assert newton_schulz_flops(*shape) == counted(lambda: orthogonalized(torch.randn(shape), steps=5))


def test_newton_schulz_by_hand(sized):
    assert newton_schulz_flops(10, 10) == 5 * 3 * 2 * 1000
    assert newton_schulz_flops(30, 10) == 4 * 2 * 100 * 30 + 14 * 2 * 1000


def test_processes_orthogonalise_what_their_slices_touch():
    """Of 1,200 numbers in slices of 400 the second matrix is touched by two processes, which both need all of it."""
    tensors = [torch.empty(shape, device="meta") for shape in ((3, 10, 10), (20, 10), (10, 50), (2, 10, 10))]
    square, middle, wide = newton_schulz_flops(10, 10), newton_schulz_flops(20, 10), newton_schulz_flops(10, 50)
    assert orthogonalization_flops(tensors, 1, 3) == [3 * square + middle, middle + wide, wide + 2 * square]
    whole = 5 * square + middle + wide
    assert orthogonalization_flops(tensors, 2, 1) == [whole]
    assert orthogonalization_flops(tensors, 0, 2) == [whole, whole]


def test_oracle_tries_every_expert(smoke):
    """Images: all experts forward, and backward with a divergence loss. Tokens: a sample, through the head as well."""
    config = smoke["v1"]
    model = meta_model(config, IMAGES)
    experts = 2 * sum(parameter.numel() for parameter in model.moe.experts.parameters())
    assert oracle_flops(model, config, 7) == 7 * experts
    divergent = replace(config, ecology=replace(config.ecology, divergence_weight=0.1))
    assert oracle_flops(model, divergent, 7) == 21 * experts
    language = meta_model(smoke["l1"], None)
    experts = 2 * sum(p.numel() for layer in language.moe_layers() for p in layer.experts.parameters())
    head = len(language.moe_layers()) * 16 * 2 * 512 * 32
    assert oracle_flops(language, smoke["l1"], 1000) == 64 * (experts + head)
    assert oracle_flops(language, smoke["l1"], 8) == 8 * (experts + head)
    assert oracle_flops(meta_model(smoke["tc"], None), smoke["tc"], 8) == 0


def test_oracle_against_torch(smoke):
    config = smoke["v1"]
    model = TieredMoEClassifier(config, IMAGES.channels, IMAGES.classes)
    model.initialize(0)
    features = torch.randn(7, config.model.feature_width)
    assert oracle_flops(model, config, 7) == counted(lambda: model.moe.experts.all_outputs(features))


@pytest.mark.parametrize("condition", ["dense", "tc"])
def test_activation_checkpointing_computes_the_blocks_again(sized, condition):
    """Forward passes of all blocks once more, but for what no gradient needs: the last product of each part."""
    config = sized(condition, width=64, layers=3)
    config = replace(config, training=replace(config.training, activation_checkpointing=True))
    model, flops_of_step = stepped(config)
    flops = forward_flops(model, config, (0, 0))
    again = recomputed_flops(flops, config, layout_of(config))
    assert again == flops.total - flops.head
    assert 128 * (3 * flops.total + again) == pytest.approx(flops_of_step, rel=0.1)
