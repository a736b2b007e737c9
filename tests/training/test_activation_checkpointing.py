"""Blocks that are computed again in the backward pass train as those that are kept, and decide once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.distributed._tools.mem_tracker import MemTracker

from moe_replication import routing
from moe_replication.config.run import RunConfig
from moe_replication.distributed import mean_over_ranks
from moe_replication.errors import BadInput
from moe_replication.models.gpt import GPT
from moe_replication.models.initialization import fill_normal, named_matrices
from moe_replication.routing import RoutingContext
from moe_replication.routing.update import end_step
from moe_replication.seeding import torch_generator
from moe_replication.training.ecology_step import language_losses
from moe_replication.training.task import ecology_parts

CONDITIONS = ("dense", "tc-aux-global", "tc-loss-free", "ec-sequence", "ec-batch", "et", "et-concat", "l1")


def _model(config: RunConfig, recompute: bool) -> GPT:
    """Every weight random, cut-offs and biases that differ by expert."""
    config = replace(
        config,
        model=replace(config.model, layers=3),
        training=replace(config.training, activation_checkpointing=recompute),
    )
    model = GPT(config)
    for name, parameter in named_matrices(model).items():
        fill_normal(parameter, 0.2, 0, name)
    for layer in model.moe_layers():
        layer.state.cutoff_E = torch.linspace(-1.0, 2.0, config.moe.experts)
        layer.state.bias_E = torch.linspace(-0.5, 0.5, config.moe.experts)
    return model


def _loss(model: GPT, config: RunConfig, warming_up: bool) -> torch.Tensor:
    """Loss of one pass with the terms that read the routing."""
    length = config.data.sequence_length
    tokens = torch.randint(0, config.data.vocab_size, (4, length), generator=torch_generator(0, "tokens"))
    pool = length if config.routing.pool == "sequence" else tokens.numel()
    context = RoutingContext(training=True, pool_tokens=pool, warming_up=warming_up)
    output = model(tokens, context)
    loss = model.mean_loss(output.hidden_BTD, tokens.roll(-1, dims=1))
    for routed in output.routing:
        if routed.selection.aux_loss is not None:
            loss = loss + routed.selection.aux_loss
    if config.ecology is not None:
        terms = language_losses(model, output.routing, tokens.flatten(), torch.arange(32), config.ecology, 2.0)
        loss = loss + ecology_parts(terms, config.ecology)[0]
    return loss


def _step(config: RunConfig, recompute: bool, warming_up: bool, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Loss, gradients and routing states after one optimiser step's two passes."""
    model = _model(config, recompute).to(dtype)
    losses = []
    for _ in range(2):
        loss = _loss(model, config, warming_up)
        loss.backward()
        losses.append(loss.detach())
    found = {"loss": torch.stack(losses)} | {name: p.grad for name, p in model.named_parameters()}
    for index, layer in enumerate(model.moe_layers()):
        found |= {f"{index} passes": torch.tensor(layer.state.passes), f"{index} load": layer.state.load_sum_E.clone()}
        end_step(layer.state, config.routing, beta=0.5)
        found |= {f"{index} {name}": value for name, value in layer.state.state_dict().items()}
    return found


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_losses_gradients_and_states_are_the_same_bits(smoke, condition, dtype):
    kept = _step(smoke[condition], False, False, dtype)
    again = _step(smoke[condition], True, False, dtype)
    assert kept.keys() == again.keys()
    for name, value in kept.items():
        assert torch.equal(value, again[name]), name
    assert all(value == 2 for name, value in again.items() if name.endswith("passes"))


def test_warm_up_is_the_same_too(smoke):
    kept, again = (_step(smoke["et"], recompute, True, torch.float32) for recompute in (False, True))
    for name, value in kept.items():
        assert torch.equal(value, again[name]), name


@pytest.mark.parametrize("condition", ["tc-aux-global", "ec-batch", "et"])
def test_the_decision_and_its_collectives_are_made_once(smoke, monkeypatch, condition):
    """Asked again in the backward pass, ranks would wait for each other, and thresholds would count a pass twice."""
    config, calls = smoke[condition], []
    monkeypatch.setattr("moe_replication.routing.thresholds.gather_rows", _counting(calls, "gather", lambda rows: rows))
    monkeypatch.setattr("moe_replication.routing.balance.mean_over_ranks", _counting(calls, "mean", mean_over_ranks))
    rule = routing.RULES[config.routing.rule]
    monkeypatch.setitem(routing.RULES, config.routing.rule, _counting(calls, "rule", rule))
    loss = _loss(_model(config, True), config, warming_up=True)
    before = sorted(calls)
    assert before.count("rule") == 2
    loss.backward()
    assert sorted(calls) == before


def _counting(calls: list[str], name: str, function: Callable) -> Callable:
    def counted(*arguments: object) -> object:
        calls.append(name)
        return function(*arguments)

    return counted


@pytest.mark.parametrize(("condition", "most"), [("dense", 0.24), ("tc", 0.31), ("et", 0.31)])
def test_far_less_is_kept_for_the_backward_pass(smoke, condition, most):
    """Blocks keep their input; MoE blocks the stream before the feed-forward, its norm and the gates, too."""
    kept, again = (_kept_bytes(smoke[condition], recompute) for recompute in (False, True))
    assert again < most * kept


def _kept_bytes(config: RunConfig, recompute: bool) -> int:
    """Bytes alive between the forward and the backward pass of the blocks, weights left out."""
    model = _model(config, recompute)
    tokens = torch.randint(0, config.data.vocab_size, (8, 64), generator=torch_generator(0, "tokens"))
    tracker = MemTracker()
    tracker.track_external(model)
    with tracker:
        output = model(tokens, RoutingContext(training=True, pool_tokens=512, warming_up=True))
        alive = tracker.get_tracker_snapshot("current")[torch.device("cpu")]["Total"]
    assert output.hidden_BTD.requires_grad
    return alive - sum(parameter.nbytes for parameter in model.parameters())


def test_images_refuse_what_would_not_act(smoke):
    config = smoke["v1"]
    with pytest.raises(
        BadInput, match=r"training\.activation_checkpointing = true acts on language models only.*false"
    ):
        replace(config, training=replace(config.training, activation_checkpointing=True))
