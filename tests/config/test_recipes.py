"""Recipes of paper A, and what its conditions amount to under them."""

from __future__ import annotations

from pathlib import Path

import pytest

from moe_replication.config import load_project
from moe_replication.config.matrix import read_paper
from moe_replication.config.recipes import recipe_difference
from moe_replication.errors import BadInput

ROOT = Path(__file__).parents[2]
PAPER = "expert-threshold"
EXPECTED = {
    "routing.comparison": ("greater", "greater_equal"),
    "routing.ema_bias_correction": (False, True),
    "routing.capacity": (0.5, 0.25),
    "routing.bias_rate": (0.005, 0.001),
    "optimizer.router": ("matrix", "head"),
    "optimizer.betas": ([0.9, 0.95], [0.8, 0.95]),
    "optimizer.adamw_warmup_fraction": (0.013108, 0.0),
    "optimizer.decay_fraction": (1.0, 0.2),
    "optimizer.final_lr_fraction": (0.1, 0.0),
    "optimizer.gradient_clipping": (0.0, 1.0),
    "engine.zero_stage": (1, 0),
    "engine.precision": ("auto", "float32"),
}


def _conditions(scale: str, **settings: object) -> dict:
    return load_project(ROOT, {"scale": scale, "papers": [PAPER], **settings}).papers[PAPER].conditions


def test_difference_of_the_recipes_with_its_sources():
    rows = recipe_difference(read_paper(ROOT, PAPER), "paper", "released")
    assert {row.key: (row.value_a, row.value_b) for row in rows} == EXPECTED
    assert all(row.origin_a and row.origin_b for row in rows)
    released = {row.key: row.origin_b for row in rows}
    assert released["routing.capacity"] == "released code"
    assert released["engine.zero_stage"].startswith("ours:")


def test_recipe_of_the_settings_reaches_every_condition_that_names_none():
    paper, released = _conditions("smoke"), _conditions("smoke", recipe="released")
    assert (paper["et"].recipe, released["et"].recipe, paper["et-released"].recipe) == ("paper", "released", "released")
    assert released["et"].config == paper["et-released"].config
    assert released["et-released"].config == paper["et-released"].config
    assert released["et"].config.routing.capacity == 0.25
    # A condition's own settings come on top.
    assert released["et-capacity-1.0"].config.routing.capacity == 1.0


def test_paper_without_recipes_ignores_them():
    project = load_project(ROOT, {"scale": "smoke", "recipe": "released"})
    assert project.papers["expert-ecology"].conditions["v1"].recipe is None


@pytest.mark.parametrize("wrong", ["relased", ""])
def test_unknown_recipe_is_named(wrong):
    with pytest.raises(BadInput, match=r"unknown to expert-threshold; choose one of paper, released"):
        load_project(ROOT, {"scale": "smoke", "recipe": wrong})
    with pytest.raises(BadInput, match="no such recipe; known: paper, released"):
        recipe_difference(read_paper(ROOT, PAPER), "paper", wrong)


@pytest.mark.parametrize("scale", ["smoke", "cpu", "gpu", "paper"])
def test_no_two_conditions_are_the_same_experiment(scale):
    seen: dict[object, str] = {}
    for name, condition in _conditions(scale).items():
        assert seen.setdefault(condition.config, name) == name


@pytest.mark.parametrize("scale", ["smoke", "cpu", "gpu", "paper"])
def test_pools_keep_their_order(scale):
    pools = [_conditions(scale)[name].config.pool_tokens for name in ("ec-sequence", "ec-8k", "ec-64k", "ec-batch")]
    assert pools == sorted(set(pools))
    batch = _conditions(scale)["ec-batch"].config
    assert pools[-1] == batch.training.batch_size * batch.data.sequence_length


def test_every_condition_has_the_papers_warm_ups_at_its_scale():
    """4,000 steps of expert choice and 250 of AdamW warm-up, at d12 (19,073 steps) and d20 (21,362)."""
    for name, condition in _conditions("paper").items():
        config = condition.config
        steps = config.training.tokens // (config.training.batch_size * config.data.sequence_length)
        assert steps == (21_362 if name.startswith("d20") else 19_073)
        if "warmup" not in name:
            assert round(config.routing.warmup_fraction * steps) == 4000, name
        if condition.recipe == "paper":
            assert round(config.optimizer.adamw_warmup_fraction * steps) == 250, name


def test_pools_of_the_paper_are_its_own():
    conditions = {name: condition.config for name, condition in _conditions("paper").items()}
    pools = {name: conditions[name].pool_tokens for name in ("ec-sequence", "ec-8k", "ec-64k", "ec-batch", "et")}
    assert list(pools.values()) == [2048, 8192, 65_536, 524_288, 524_288]
    assert conditions["d20-ec"].pool_tokens == conditions["d20-et"].pool_tokens == 262_144
    balanced = {name: conditions[name] for name in ("tc-aux", "d20-tc-aux")}
    aux = {name: config.forward_tokens // config.engine.world_size for name, config in balanced.items()}
    assert aux == {"tc-aux": 65_536, "d20-tc-aux": 32_768}


def test_no_shared_expert_routes_two_of_sixteen():
    for name in ("ec-no-shared", "et-no-shared", "et-no-warmup-no-shared"):
        config = _conditions("paper")[name].config
        assert (config.moe.shared_multiple, config.routing.top_k, config.moe.experts) == (0.0, 2, 16)
