"""The plain reference is the same model as ours: same weights and batch, same loss and gradients."""

from __future__ import annotations

import pytest
import torch
from benchmarks.plain import PlainGPT, flat_names

from moe_replication.models.gpt import GPT
from moe_replication.routing import RoutingContext
from moe_replication.routing.update import end_step

# Both in float32; what differs is the order of sums.
LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-5
BETA = 0.9


@torch.no_grad()
def _stirred(config) -> GPT:
    """Our model with every weight away from zero, so that every gradient says something."""
    model = GPT(config)
    model.initialize(0)
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return model


def _batch(config):
    size = (config.training.micro_batch_size, config.data.sequence_length)
    generator = torch.Generator().manual_seed(2)
    tokens, targets = (torch.randint(config.data.vocab_size, size, generator=generator) for _ in range(2))
    return tokens, targets


def _our_loss(model: GPT, config, batch, warming_up: bool):
    tokens, targets = batch
    context = RoutingContext(training=True, pool_tokens=config.pool_tokens, warming_up=warming_up)
    output = model(tokens, context)
    loss = model.token_losses(output.hidden_BTD, targets).mean()
    for routed in output.routing:
        if routed.selection.aux_loss is not None:
            loss = loss + routed.selection.aux_loss
    return loss


@pytest.mark.parametrize("condition", ["dense", "tc", "tc-aux", "ec-8k", "ec-batch", "et"])
def test_same_loss_and_gradients(smoke, condition):
    config = smoke[condition]
    ours, plain, batch = _stirred(config), PlainGPT(config), _batch(config)
    plain.take(ours)
    # Expert threshold warms up as expert choice, which gives it the cut-offs of the second pass.
    for warming_up in (True, False):
        ours.zero_grad(), plain.zero_grad()
        expected, found = _our_loss(ours, config, batch, warming_up), plain(*batch, warming_up)
        torch.testing.assert_close(found, expected, rtol=LOSS_TOLERANCE, atol=LOSS_TOLERANCE)
        expected.backward(), found.backward()
        gradients = {name: parameter.grad for name, parameter in ours.named_parameters()}
        own = dict(plain.named_parameters())
        for name, gradient in flat_names(gradients).items():
            expected_grad, found_grad = gradient, own[f"{name}.weight"].grad
            scale = expected_grad.abs().max().clamp_min(1e-3).item()
            torch.testing.assert_close(found_grad, expected_grad, rtol=0, atol=GRADIENT_TOLERANCE * scale, msg=name)
        for layer, router in zip(ours.moe_layers(), plain.routers(), strict=True):
            end_step(layer.state, config.routing, BETA)
            router.end_step(BETA)
            torch.testing.assert_close(router.cutoff_E, layer.state.cutoff_E)
