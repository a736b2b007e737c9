from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import tensor

from moe_replication.evaluation.checkpoints import causal_context
from moe_replication.evaluation.documents import Text
from moe_replication.evaluation.routing_probe import (
    RoutedBatch,
    RouterMeter,
    TokenRoutes,
    position_bins,
    quantile_bins,
    routed_batches,
)
from moe_replication.routing import RoutingContext


def text_of(tokens: int) -> Text:
    ids = np.random.default_rng(0).integers(1, 512, size=tokens + 1)
    return Text(domain="validation", ids=ids, starts_D=np.array([0]))


def batch_of(mask_LNE, *, losses=None, logits=None, gates=None, positions=None) -> RoutedBatch:
    shape, tokens = mask_LNE.shape, mask_LNE.shape[1]
    return RoutedBatch(
        losses_N=torch.zeros(tokens) if losses is None else tensor(losses),
        positions_N=torch.arange(tokens) if positions is None else tensor(positions),
        mask_LNE=mask_LNE,
        logits_LNE=torch.zeros(shape) if logits is None else logits,
        gates_LNE=torch.full(shape, 0.5) if gates is None else gates,
    )


def test_passes_cover_every_token_once_with_the_rest_last(deep, random_gpt):
    model, text = random_gpt(deep("et")), text_of(150)
    batches = list(routed_batches(model, text, length=32, forward_tokens=64))
    assert [len(batch.losses_N) for batch in batches] == [64, 64, 22]
    assert batches[0].positions_N.tolist() == [*range(32), *range(32)]
    assert batches[-1].mask_LNE.shape == (2, 22, 16)
    ids = torch.from_numpy(text.ids)
    output = model(ids[128:150][None], causal_context(22))
    torch.testing.assert_close(batches[-1].losses_N, model.token_losses(output.hidden_BTD, ids[129:151][None]))


@pytest.mark.parametrize("condition", ["tc", "ec-batch", "et", "dense"])
def test_losses_do_not_depend_on_how_a_causal_text_is_split_into_passes(deep, random_gpt, condition):
    model, text = random_gpt(deep(condition)), text_of(128)
    together, apart = (
        torch.cat([batch.losses_N for batch in routed_batches(model, text, 32, tokens)]) for tokens in (128, 32)
    )
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("condition", "pool"), [("ec-sequence", 32), ("ec-batch", 64), ("ec-batch", 128)])
def test_training_mode_is_the_rules_own_choice_over_whole_pools(deep, random_gpt, condition, pool):
    model, text = random_gpt(deep(condition)), text_of(150)
    batches = list(routed_batches(model, text, 32, 64, pool_tokens=pool))
    assert [len(batch.losses_N) for batch in batches] == ([128] if pool == 128 else [64, 64])
    for batch in batches:
        loads = batch.mask_LNE.reshape(2, -1, pool, 16).sum(dim=2)
        assert (loads == pool // 16).all()
    (first, *_) = batches
    ids = torch.from_numpy(text.ids[: len(first.losses_N)]).view(-1, 32)
    expected = copy.deepcopy(model)(ids, RoutingContext(training=True, pool_tokens=pool))
    assert torch.equal(first.mask_LNE[1], expected.routing[1].selection.mask_NE)


@pytest.mark.parametrize("condition", ["tc-loss-free", "ec-sequence", "ec-batch", "et"])
@pytest.mark.parametrize("pool_tokens", [None, 32])
def test_no_pass_changes_a_routing_state(deep, random_gpt, condition, pool_tokens):
    model = random_gpt(deep(condition))
    states = [layer.state for layer in model.moe_layers()]
    before = copy.deepcopy(states)
    batches = routed_batches(model, text_of(96), 32, 64, pool_tokens)
    next(batches)
    list(batches)
    for layer, state, old in zip(model.moe_layers(), states, before, strict=True):
        assert layer.state is state
        for field in dataclasses.fields(state):
            value, earlier = getattr(state, field.name), getattr(old, field.name)
            assert torch.equal(value, earlier) if isinstance(value, torch.Tensor) else value == earlier


def test_a_pass_that_fails_leaves_the_states_too(deep, random_gpt):
    model = random_gpt(deep("ec-batch"))
    states = [layer.state for layer in model.moe_layers()]
    model.blocks[2].moe.router.weight.data = torch.zeros(3, 3)
    with pytest.raises(RuntimeError):
        list(routed_batches(model, text_of(64), 32, 64, pool_tokens=64))
    assert [layer.state for layer in model.moe_layers()] == states
    assert states[0].passes == 0


def test_position_bins_grow_from_the_first_position():
    positions = np.tile(np.arange(10), 2)
    bins = position_bins(positions, 10, 2.0)
    assert [(low, high) for low, high, _ in bins] == [(0, 1), (1, 2), (2, 4), (4, 8), (8, 10)]
    assert [len(tokens) for _, _, tokens in bins] == [2, 2, 4, 8, 4]
    assert sorted(np.concatenate([tokens for *_, tokens in bins]).tolist()) == list(range(20))
    assert [high for _, high, _ in position_bins(positions, 10, 1.1)] == list(range(1, 11))


def test_quantile_bins_hold_equally_many_tokens():
    bins = quantile_bins(np.array([5.0, 1.0, 4.0, 2.0, 3.0, 0.0]), 3)
    assert [(low, high) for low, high, _ in bins] == [(0, 1), (2, 3), (4, 5)]
    assert [sorted(tokens.tolist()) for *_, tokens in bins] == [[1, 5], [3, 4], [0, 2]]
    assert [len(tokens) for *_, tokens in quantile_bins(np.zeros(4), 3)] == [2, 1, 1]
    assert len(quantile_bins(np.zeros(2), 3)) == 2


def test_fanout_by_position_and_loss_worked_by_hand():
    # Two sequences of two positions, two layers, two experts; fan-outs (2, 0, 2, 1) and (1, 1, 0, 0).
    mask_LNE = tensor(
        [[[1, 1], [0, 0], [1, 1], [1, 0]], [[1, 0], [0, 1], [0, 0], [0, 0]]], dtype=torch.bool
    )  # fmt: skip
    routes = TokenRoutes()
    routes.add(batch_of(mask_LNE[:, :2], losses=[4.0, 1.0], positions=[0, 1]))
    routes.add(batch_of(mask_LNE[:, 2:], losses=[3.0, 2.0], positions=[0, 1]))
    rows = routes.fanout_rows("causal", length=2, loss_bins=2, position_ratio=2.0)
    found = {(row["axis"], row["layer"], row["bin"]): (row["centre"], row["fanout"], row["tokens"]) for row in rows}
    assert found == {
        ("position", None, 0): (0.0, 1.25, 2), ("position", 0, 0): (0.0, 2.0, 2), ("position", 1, 0): (0.0, 0.5, 2),
        ("position", None, 1): (1.0, 0.5, 2), ("position", 0, 1): (1.0, 0.5, 2), ("position", 1, 1): (1.0, 0.5, 2),
        ("loss", None, 0): (1.5, 0.5, 2), ("loss", 0, 0): (1.5, 0.5, 2), ("loss", 1, 0): (1.5, 0.5, 2),
        ("loss", None, 1): (3.5, 1.25, 2), ("loss", 0, 1): (3.5, 2.0, 2), ("loss", 1, 1): (3.5, 0.5, 2),
    }  # fmt: skip
    zero = {(row["layer"], row["bin"]): row["share"] for row in routes.zero_rows("code", 2)}
    assert zero == {(None, 0): 0.5, (0, 0): 0.5, (1, 0): 0.5, (None, 1): 0.25, (0, 1): 0.0, (1, 1): 0.5}


def test_router_meter_worked_by_hand(deep, random_gpt):
    logits_LNE = tensor([[[-0.25, 0.1], [0.25, 0.3]]])
    mask_LNE = tensor([[[0, 1], [0, 1]]], dtype=torch.bool)
    gates_LNE = tensor([[[0.9, 0.5], [0.9, 1.0]]])
    meter = RouterMeter(layers=1, experts=2, logit_width=0.25, gate_bins=2)
    meter.add(batch_of(mask_LNE[:, :1], logits=logits_LNE[:, :1], gates=gates_LNE[:, :1]))
    meter.add(batch_of(mask_LNE[:, 1:], logits=logits_LNE[:, 1:], gates=gates_LNE[:, 1:]))
    rows = [(row["quantity"], row["low"], row["high"], row["count"]) for row in meter.histogram_rows()]
    assert rows == [("logit", -0.25, 0.0, 1), ("logit", 0.0, 0.25, 1), ("logit", 0.25, 0.5, 2), ("gate", 0.5, 1.0, 2)]
    model = random_gpt(deep("et"))
    del model.blocks[2]
    model.moe_layers()[0].state.cutoff_E = tensor([0.5, 0.25])
    first, second = meter.cutoff_rows(model, has_cutoff=True)
    assert (first["cutoff"], first["logit_mean"], first["logit_std"], first["gate_mean"]) == (0.5, 0.0, 0.25, None)
    assert (second["cutoff"], second["gate_mean"]) == (0.25, 0.75)
    assert second["logit_mean"] == pytest.approx(0.2)
    assert {row["cutoff"] for row in meter.cutoff_rows(model, has_cutoff=False)} == {None}


def test_histograms_count_every_logit_and_every_chosen_gate(deep, random_gpt):
    model, meter = random_gpt(deep("et")), RouterMeter(2, 16, 0.1, 50)
    chosen = 0
    for batch in routed_batches(model, text_of(150), 32, 64):
        meter.add(batch)
        chosen += int(batch.mask_LNE.sum())
    counts = {"logit": 0, "gate": 0}
    for row in meter.histogram_rows():
        counts[row["quantity"]] += row["count"]
        assert row["low"] < row["high"]
    assert counts == {"logit": 2 * 150 * 16, "gate": chosen}
    assert meter.load_LE.sum() == chosen
