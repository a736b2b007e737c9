"""A setting that could not act, or only wrongly, stops before anything runs and is named with its remedy."""

from __future__ import annotations

import dataclasses

import pytest

from moe_replication.errors import BadInput


def _changed(config, section: str, **values: object):
    return dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **values)})


@pytest.mark.parametrize("balance", ["aux", "loss_free"])
@pytest.mark.parametrize("condition", ["v1", "l1", "et", "ec-batch", "dense"])
def test_balancing_needs_token_choice(smoke, condition, balance):
    with pytest.raises(BadInput, match=rf"routing\.balance = {balance} acts under token_choice only.*set it to none"):
        _changed(smoke[condition], "routing", balance=balance)


def test_the_auxiliary_loss_is_refused_on_images(smoke):
    with pytest.raises(BadInput, match=r"routing\.balance = aux is .* on images use ecology\.balance_weight"):
        _changed(smoke["v1"], "routing", rule="token_choice", balance="aux")
    _changed(smoke["v1"], "routing", rule="token_choice", balance="loss_free")


@pytest.mark.parametrize("condition", ["cross-et-e0.30", "cross-ec-e0.30"])
def test_cut_off_rules_on_images_need_an_expert_for_every_image(smoke, condition):
    with pytest.raises(BadInput, match=r"moe\.shared_multiple = 0 under .*no prediction; give a shared expert"):
        _changed(smoke[condition], "moe", shared_multiple=0.0)


def test_a_fallback_expert_is_enough_for_images(smoke):
    config = _changed(smoke["cross-et-e0.30"], "routing", fallback=True)
    assert _changed(config, "moe", shared_multiple=0.0).moe.shared_multiple == 0


@pytest.mark.parametrize("capacity", [0.0, 1.0])
def test_capacity_reaches_from_none_to_one(smoke, capacity):
    assert _changed(smoke["et"], "routing", capacity=capacity).routing.capacity == capacity
    with pytest.raises(BadInput, match=r"routing\.capacity = 1\.5: .*must not be negative; set it to at most 1"):
        _changed(smoke["et"], "routing", capacity=1.5)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("dead_share", 0.05, r"census\.dead_share = 0\.05 must be at most census\.edge_share = 0\.03"),
        ("strict_dead_share", 0.02, r"census\.strict_dead_share = 0\.02 must be at most census\.dead_share = 0\.01"),
        ("core_accuracy", 0.2, r"census\.broad_accuracy = 0\.3 must be at most census\.core_accuracy = 0\.2"),
    ],
)
def test_limits_of_the_census_rise(smoke, name, value, message):
    with pytest.raises(BadInput, match=message):
        _changed(smoke["v1"], "census", **{name: value})


def test_equal_limits_of_the_census_are_allowed(smoke):
    assert _changed(smoke["v1"], "census", edge_share=0.01).census.edge_share == 0.01


@pytest.mark.parametrize(
    ("condition", "section", "values", "message"),
    [
        (
            "v1",
            "data",
            {"sequence_length": 64},
            r"data\.sequence_length = 64 cannot act with task = vision; set to null",
        ),
        ("et", "data", {"pooling": 2}, r"data\.pooling = 2 cannot act with task = language"),
        ("et", "data", {"augmentation": "standard"}, r"data\.augmentation = standard is for images"),
        ("et", "model", {"dense_first_layers": 2}, r"dense_first_layers = 2 leaves none of model\.layers = 2 for"),
        (
            "v1",
            "moe",
            {"tiers": (1,), "tier_multiples": (1.0,)},
            r"moe\.tiers = \[1\]: .*compare experts; give at least",
        ),
    ],
)
def test_settings_of_another_task_or_model_are_refused(smoke, condition, section, values, message):
    config = smoke[condition]
    if condition == "v1" and section == "moe":
        config = _changed(config, "routing", top_k=1)
    with pytest.raises(BadInput, match=message):
        _changed(config, section, **values)


def test_a_dense_model_needs_no_moe_layer(smoke):
    assert _changed(smoke["dense"], "model", dense_first_layers=2).model.dense_first_layers == 2
