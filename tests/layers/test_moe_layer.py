from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from moe_replication.layers.experts import expert_ffn
from moe_replication.layers.moe import MoELayer, Router
from moe_replication.routing import RoutingContext

WIDTH = 6
TRAINING = RoutingContext(training=True, pool_tokens=8)
EVALUATION = RoutingContext(training=False, pool_tokens=8)


@pytest.fixture
def make(smoke):
    """make(rule, shared_multiple=): a layer of four experts in two tiers with random weights."""

    def build(rule: str = "token_choice", shared_multiple: float = 0.5, **routing: object) -> MoELayer:
        config = smoke["tc"]
        moe = replace(config.moe, tiers=(3, 1), tier_multiples=(0.5, 1.0), shared_multiple=shared_multiple)
        layer = MoELayer(WIDTH, WIDTH, moe, replace(config.routing, rule=rule, **routing))
        generator = torch.Generator().manual_seed(0)
        for parameter in layer.parameters():
            torch.nn.init.normal_(parameter, generator=generator)
        return layer

    return build


@pytest.mark.parametrize("hidden", [0, 5])
def test_router_logits_are_float32_under_bfloat16_and_autocast(hidden):
    router = Router(WIDTH, hidden, 3)
    for parameter in router.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    x = torch.randn(7, WIDTH)
    h = F.relu(x @ router.hidden.T + router.hidden_bias) if hidden else x
    expected = h @ router.weight.T
    torch.testing.assert_close(router(x), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(router(x), expected)
    router.bfloat16()
    exact = x.bfloat16().float()
    weights = {name: parameter.float() for name, parameter in router.named_parameters()}
    if hidden:
        exact = F.relu(exact @ weights["hidden"].T + weights["hidden_bias"])
    logits = router(x.bfloat16())
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, exact @ weights["weight"].T)


@pytest.mark.parametrize("rule", ["token_choice", "expert_choice", "expert_threshold"])
def test_output_is_shared_plus_gated_experts(make, rule):
    layer = make(rule)
    x = torch.randn(2, 4, WIDTH, generator=torch.Generator().manual_seed(2))
    output = layer(x, TRAINING)
    x_ND = x.view(8, WIDTH)
    expected = expert_ffn(x_ND, layer.shared_up, layer.shared_down)
    gates = (x_ND @ layer.router.weight.T).sigmoid()
    pairs = [pair for stacks in layer.experts.stacks() for pair in zip(*stacks, strict=True)]
    for expert, (up, down) in enumerate(pairs):
        chosen = output.selection.mask_NE[:, expert : expert + 1]
        expected = expected + torch.where(chosen, gates[:, expert : expert + 1] * expert_ffn(x_ND, up, down), 0.0)
    assert output.selection.mask_NE.any()
    torch.testing.assert_close(output.y, expected.view(2, 4, WIDTH))


def test_tokens_without_experts_get_the_shared_expert_alone(make):
    layer = make("expert_threshold")
    layer.state.cutoff_E.fill_(100.0)
    x = torch.randn(8, WIDTH)
    torch.testing.assert_close(layer(x, EVALUATION).y, expert_ffn(x, layer.shared_up, layer.shared_down))
    bare = make("expert_threshold", shared_multiple=0.0)
    bare.state.cutoff_E.fill_(100.0)
    assert bare.shared_up is None
    assert bare(x, EVALUATION).y.count_nonzero() == 0


def test_only_training_passes_are_recorded(make):
    layer = make("expert_threshold")
    x = torch.randn(8, WIDTH)
    layer(x, EVALUATION)
    assert layer.state.passes == 0
    layer(x, TRAINING)
    layer(x, TRAINING)
    assert layer.state.passes == 2
    assert layer.state.cutoff_E.tolist() == [0.0] * 4


def test_routing_state_stays_float32_when_the_model_is_cast(make):
    layer = make("expert_threshold")
    layer.state.cutoff_E = torch.full((4,), 0.1234567)
    layer.bfloat16()
    assert {p.dtype for p in layer.parameters()} == {torch.bfloat16}
    assert layer.state.cutoff_E.dtype == layer.state.bias_E.dtype == torch.float32
    assert layer.state.cutoff_E[0].item() == pytest.approx(0.1234567, abs=1e-8)
    output = layer(torch.randn(8, WIDTH, dtype=torch.bfloat16), TRAINING)
    assert output.y.dtype == torch.bfloat16
    assert output.logits_NE.dtype == output.selection.gates_NE.dtype == torch.float32
    assert layer.state.cutoff_sum_E.dtype == torch.float32


def test_router_learns_through_the_gate_alone(make):
    """Paper A: selection has no gradient, so an unchosen expert's logit moves nothing."""
    layer = make("token_choice")
    output = layer(torch.randn(8, WIDTH), TRAINING)
    gradient = torch.autograd.grad(output.y.sum(), output.logits_NE)[0]
    assert gradient[~output.selection.mask_NE].count_nonzero() == 0
    assert gradient[output.selection.mask_NE].count_nonzero() > 0
