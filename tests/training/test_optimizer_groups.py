from __future__ import annotations

from dataclasses import replace

import pytest
from torch import nn

from moe_replication.models.gpt import GPT
from moe_replication.models.tiered_moe import TieredMoEClassifier
from moe_replication.training.optimizers import adamw_groups, check_groups, learning_rates, muon_groups


def _names(model: nn.Module, groups: list[dict]) -> dict[str, list[str]]:
    """Parameter names by group."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {group["name"]: [names[id(p)] for p in group["params"]] for group in groups}


@pytest.mark.parametrize("condition", ["dense", "tc", "et"])
@pytest.mark.parametrize("router", ["matrix", "head"])
def test_muon_takes_matrices_and_adamw_embedding_and_head(smoke, condition, router):
    config = smoke[condition]
    model = GPT(config)
    groups = muon_groups(model, replace(config.optimizer, router=router), config.model.width)
    check_groups(model, groups)
    names = _names(model, groups)
    routers = [] if condition == "dense" else ["blocks.1.moe.router.weight"]
    assert names["embedding"] == ["embedding"]
    assert names["head"] == ["head", *(routers if router == "head" else [])]
    assert set(routers) <= set(names[router])
    assert [group["use_muon"] for group in groups] == [True, False, False]
    for name, parameter in model.named_parameters():
        assert parameter.use_muon == (name in names["matrix"])


@pytest.mark.parametrize("router", ["matrix", "head"])
def test_muon_never_gets_a_vector(smoke, router):
    """The router MLP has a bias; DeepSpeed's Muon refuses anything below two dimensions."""
    config = smoke["tc"]
    model = GPT(replace(config, moe=replace(config.moe, router_hidden=8)))
    groups = muon_groups(model, replace(config.optimizer, router=router), config.model.width)
    check_groups(model, groups)
    assert min(parameter.ndim for parameter in groups[0]["params"]) == 2


def test_experts_under_adamw_leave_muon_and_keep_a_rate_of_their_own(smoke):
    config = smoke["et-adamw"]
    model = GPT(config)
    groups = muon_groups(model, config.optimizer, 768)
    check_groups(model, groups)
    names = _names(model, groups)
    assert names["expert"] == ["blocks.1.moe.experts.up.0", "blocks.1.moe.experts.down.0"]
    assert not any(".experts." in name for name in names["matrix"])
    assert {"blocks.1.moe.shared_up", "blocks.1.moe.router.weight"} <= set(names["matrix"])
    expert = groups[-1]
    assert (expert["peak_lr"], expert["use_muon"], expert["betas"]) == (config.optimizer.expert_lr, False, (0.9, 0.95))


def test_recipes_put_the_router_where_their_source_does(smoke):
    for condition, group in (("et", "matrix"), ("et-released", "head")):
        config = smoke[condition]
        names = _names(model := GPT(config), muon_groups(model, config.optimizer, 768))
        assert "blocks.1.moe.router.weight" in names[group]


@pytest.mark.parametrize(("width", "scale"), [(768, 1.0), (1280, (5 / 3) ** -0.5), (192, 2.0)])
def test_rates_scale_with_the_inverse_root_of_the_width(smoke, width, scale):
    config = smoke["dense"]
    groups = muon_groups(GPT(config), config.optimizer, width)
    peaks = {group["name"]: group["peak_lr"] for group in groups}
    assert peaks == pytest.approx({"matrix": 0.02 * scale, "embedding": 0.2 * scale, "head": 0.004 * scale})
    adam = groups[1]
    assert (adam["betas"], adam["weight_decay"], groups[0]["momentum"]) == ((0.9, 0.95), 0.0, 0.95)


def test_rates_of_the_second_step(smoke):
    config = replace(smoke["et"].optimizer, adamw_warmup_fraction=0.4)
    # 10 steps: decay 1 - .9 * 1/10; AdamW has done 2 of 4 warm-up steps, Muon has none
    second = {"matrix": 0.91, "embedding": 0.455, "head": 0.455, "expert": 0.455}
    assert learning_rates(config, 1, 10) == pytest.approx(second)
    first = {"matrix": 1.0, "embedding": 0.25, "head": 0.25, "expert": 0.25}
    assert learning_rates(config, 0, 10) == pytest.approx(first)
    assert learning_rates(smoke["v1"].optimizer, 7, 10) == {"expert": 1.0, "encoder": 1.0}


@pytest.mark.parametrize("condition", ["v1", "l1"])
def test_paper_b_gives_router_and_experts_their_own_rate(smoke, condition):
    config = smoke[condition]
    config = replace(config, optimizer=replace(config.optimizer, expert_lr=1e-3, encoder_lr=1e-4))
    model = GPT(config) if condition == "l1" else TieredMoEClassifier(config, 1, 10)
    groups = adamw_groups(model, config.optimizer)
    check_groups(model, groups)
    names = _names(model, groups)
    assert all(".router." in name or ".experts." in name for name in names["expert"])
    assert not any("moe" in name for name in names["encoder"])
    assert {group["name"]: group["lr"] for group in groups} == {"expert": 1e-3, "encoder": 1e-4}


def test_missing_doubled_and_empty_groups_are_refused():
    model = nn.Linear(2, 2)
    weight, bias = model.weight, model.bias
    with pytest.raises(AssertionError, match="missing from the optimiser groups, or in two"):
        check_groups(model, [{"name": "a", "params": [weight]}])
    with pytest.raises(AssertionError, match="missing from the optimiser groups, or in two"):
        check_groups(model, [{"name": "a", "params": [weight, bias]}, {"name": "b", "params": [bias]}])
    with pytest.raises(AssertionError, match=r"without parameters: \['b'\]"):
        check_groups(model, [{"name": "a", "params": [weight, bias]}, {"name": "b", "params": []}])
    weight.requires_grad_(False)
    check_groups(model, [{"name": "a", "params": [bias]}])
