"""Where settings come from: told by whole marks, counted once a value and origin."""

from __future__ import annotations

import pytest

from moe_replication.config.matrix import Condition, Paper
from moe_replication.config.overlays import read_layer
from moe_replication.report.origins import (
    OTHER,
    OURS,
    RECONSTRUCTED,
    RELEASED,
    STATED,
    UNUSED,
    counts_table,
    origin_kind,
    rates,
    reconstructed_table,
    settings_of,
)


@pytest.mark.parametrize(
    ("origin", "kind"),
    [
        ("paper, models (10B)", STATED),
        ("paper; used by rules that choose over a pool", STATED),
        ("the paper's Table 3", STATED),
        ("N", STATED),
        ("V2: epoch 99 is reported", STATED),
        ("expert-threshold, Table 1, Figure 6", STATED),
        ("paper B, N and ours: as in config/papers/expert-ecology.yaml", STATED),
        ("paper B, R and N", RECONSTRUCTED),
        ("R", RECONSTRUCTED),
        ("R: the paper is silent", RECONSTRUCTED),
        ("arithmetic: every total matches", RECONSTRUCTED),
        ("released code's schedule: constant, then linear", RELEASED),
        ("expert-threshold, released recipe", RELEASED),
        ("ours: scale demo", OURS),
        ("not used by this rule", UNUSED),
        ("the horizon is given in epochs", UNUSED),
        ("not stated; ours", OTHER),
        ("the reviewers asked for it", OTHER),
        ("A guess", OTHER),
        ("papers of others", OTHER),
        ("paper is silent", OTHER),
        ("Random choice", OTHER),
        ("lab notebook", OTHER),
        (": ", OTHER),
        ("", OTHER),
    ],
)
def test_an_origin_is_told_by_a_whole_mark_or_counts_as_other(origin, kind):
    assert origin_kind(origin) == kind


def made_paper(trees: dict[str, dict]) -> Paper:
    conditions = {
        name: Condition(name=name, title=name, rows=(), baseline=None, recipe=None, seeds=(), config=None,
                        tree=read_layer(tree, "ours"))
        for name, tree in trees.items()
    }  # fmt: skip
    return Paper(name="p", figures={}, known_conditions=tuple(trees), conditions=conditions)


def test_settings_are_counted_once_a_value_and_origin():
    common = {"a": {"value": 1, "origin": "R"}, "b": {"c": {"value": None, "origin": "R: <why>"}}, "d": 2}
    paper = made_paper(
        {"x": common, "y": common | {"a": {"value": 5, "origin": "paper, Table 1"}, "e": {"value": 0, "origin": "N"}}}
    )
    found = settings_of(paper)
    assert found["b.c", "null", "R: <why>"] == ["x", "y"]
    assert found["a", "1", "R"] == ["x"]
    # Two from the papers (a = 5, e), two reconstructed (a = 1, b.c), one ours (d).
    assert '<td>p</td><td class="number">2</td><td class="number">0</td><td class="number">2</td>' in (
        counts_table({"p": paper})
    )
    listed = reconstructed_table(paper)
    assert '<td><code>a</code></td><td>1</td><td>no public source</td><td class="number">1</td>' in listed
    assert '<td><code>b.c</code></td><td>null</td><td>&lt;why&gt;</td><td class="number">2</td>' in listed
    assert "<code>d</code>" not in listed
    assert '<td class="number">1</td><td class="number">0</td><td class="number">0</td>' in counts_table({"p": paper})


def test_learning_rates_are_listed_with_their_origins():
    tree = {"optimizer": {"expert_lr": {"value": 0.001, "origin": "N"}, "momentum": 0.9}}
    paper = made_paper({"x": tree, "y": tree})
    assert rates(paper) == [("p", "optimizer.expert_lr", "0.001", "N", "2")]
