"""The experiment matrix of paper B says in its names what its settings amount to."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from moe_replication.config import load_project
from moe_replication.config.matrix import Condition
from moe_replication.ecology.control_number import control_number, meets_threshold
from moe_replication.errors import BadInput

ROOT = Path(__file__).parents[2]
PROJECT = load_project(ROOT, {"scale": "paper"})
MATRIX = PROJECT.papers["expert-ecology"].conditions
FACTORS = {"t": "temperature", "h": "entropy_weight", "o": "oracle_weight", "b": "balance_weight"}
WITH_E = [name for name in MATRIX if re.search(r"-e\d", name)]
LINES = [name for name in MATRIX if name.startswith("line-")]


def _control(condition: Condition) -> float | None:
    ecology = condition.config.ecology
    return control_number(*(getattr(ecology, name) for name in FACTORS.values()))


@pytest.mark.parametrize("name", WITH_E)
def test_e_is_the_one_in_the_name(name):
    """.545 stands for 6/11."""
    stated = float(re.search(r"-e(\d\.\d+)", name)[1])
    assert _control(MATRIX[name]) == pytest.approx(6 / 11 if stated == 0.545 else stated, rel=1e-5)


@pytest.mark.parametrize("name", LINES)
def test_a_line_moves_one_factor_only(name):
    _, letter, value = name.split("-")
    ecology, default = MATRIX[name].config.ecology, MATRIX["v1"].config.ecology
    moved = {key for key in FACTORS.values() if getattr(ecology, key) != getattr(default, key)}
    assert moved == {FACTORS[letter]}
    assert getattr(ecology, FACTORS[letter]) == float(value)


@pytest.mark.parametrize("level", [0.3, 6 / 11, 1.0])
def test_six_different_ways_to_each_level_of_e_at_least(level):
    rows = [row for row in MATRIX.values() if "ISO" in row.rows]
    tuples = {
        tuple(getattr(row.config.ecology, key) for key in FACTORS.values())
        for row in rows
        if _control(row) == pytest.approx(level, rel=1e-5)
    }
    assert len(tuples) >= 6
    assert any(balance == 0 < oracle for *_, oracle, balance in tuples)


def test_the_grid_crosses_the_threshold_in_steps_of_a_twentieth_through_both_sides():
    for letter in "bh":
        found = [_control(MATRIX[f"grid-{letter}-e{level:.2f}"]) for level in (0.4, 0.45, 0.5, 0.55, 0.6)]
        assert found == pytest.approx([0.4, 0.45, 0.5, 0.55, 0.6], rel=1e-5)
        assert [meets_threshold(round(value, 9), 0.5) for value in found] == [False, False, True, True, True]


def test_no_two_conditions_have_the_same_settings():
    versions = [condition.version for condition in MATRIX.values()]
    assert len(set(versions)) == len(versions)


def test_an_undefined_e_meets_no_threshold():
    assert _control(MATRIX["cross-et-none"]) is None
    with pytest.raises(BadInput, match="undefined at O = B = 0"):
        meets_threshold(None, 0.5)


def test_tiers_hold_as_many_parameters_as_flat_experts():
    for name in ("v1", "x1-4444", "x1-cifar100-4444"):
        moe = MATRIX[name].config.moe
        assert sum(n * m for n, m in zip(moe.tiers, moe.tier_multiples, strict=True)) == moe.experts
        assert len(set(moe.tier_multiples)) == len(moe.tiers)


def test_the_census_is_the_same_in_both_papers():
    tc = PROJECT.papers["expert-threshold"].conditions["cross-tc-none"]
    assert tc.config.census == MATRIX["v1"].config.census


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train_images: 60000", "data.train_images = 60000: cifar10 has 50000"),
        ("test_images: 10001", "data.test_images = 10001: cifar10 has 10000"),
        ("pooling: 3", "data.pooling = 3 must divide height and width of cifar10, 32 x 32 pixels"),
    ],
)
def test_a_part_that_the_set_does_not_hold_is_refused_before_anything_runs(tmp_path, setting, message):
    for part in ("config", "workflow/schemas"):
        shutil.copytree(ROOT / part, tmp_path / part)
    path = tmp_path / "config/scales/cifar.yaml"
    key = setting.partition(":")[0]
    path.write_text(re.sub(rf"{key}: \d+", setting, path.read_text(encoding="utf-8"), count=1), encoding="utf-8")
    with pytest.raises(BadInput, match=message):
        load_project(tmp_path, {"scale": "cifar"})
