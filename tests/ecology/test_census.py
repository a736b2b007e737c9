from __future__ import annotations

import math

import numpy as np
import pytest

from moe_replication.ecology import census

TOP1 = np.array([0, 0, 0, 2, 2, 3])


def test_usage_and_accuracy_on_paper():
    assert census.usage_shares(TOP1, 5).tolist() == pytest.approx([1 / 2, 0, 1 / 3, 1 / 6, 0])
    correct = np.array([True, False, True, False, False, True])
    accuracy = census.expert_accuracy(TOP1, correct, 5)
    np.testing.assert_allclose(accuracy, [2 / 3, np.nan, 0, 1, np.nan])


def test_a_sample_that_no_expert_takes_counts_for_none_of_them():
    top1 = np.array([-1, 0, 0, 1])
    # three of the four samples have an expert, and two of the three the first
    assert census.usage_shares(top1, 2).tolist() == pytest.approx([2 / 3, 1 / 3])
    assert census.usage_shares(np.array([-1, -1]), 2).tolist() == [0.0, 0.0]
    correct = np.array([True, True, False, True])
    assert census.expert_accuracy(top1, correct, 2).tolist() == [0.5, 1.0]
    # entropy of who is used, two thirds and one third
    expected = (math.log(3) - 2 / 3 * math.log(2)) / math.log(2)
    assert census.usage_entropy(census.usage_shares(top1, 2)) == pytest.approx(expected)


def test_a_router_without_any_assignment_has_only_dead_experts(smoke):
    counts = census.dead_counts(np.zeros(4), np.zeros(4), smoke["v1"].census)
    assert counts["dead_experts"] == counts["dead_experts_assigned"] == 4.0


@pytest.mark.parametrize(
    ("usage", "accuracy", "expected"),
    [
        (0.03, 0.50, "pure_core"),
        (0.03, 0.4999, "broad_core"),
        (0.03, 0.30, "broad_core"),
        (0.03, 0.2999, "weak_core"),
        (0.50, 0.0, "weak_core"),
        (0.0299, 0.25, "edge"),
        (0.0299, 0.99, "edge"),
        (0.0299, 0.2499, "noise"),
        (0.01, 0.25, "edge"),
        (0.01, 0.0, "noise"),
        (0.0099, 1.0, "dead"),
        (0.0, float("nan"), "dead"),
    ],
)
def test_taxonomy_boundaries(smoke, usage, accuracy, expected):
    assert census.taxonomy(usage, accuracy, smoke["v1"].census) == expected
    assert expected in census.TAXONOMY


@pytest.mark.parametrize(
    ("hits", "samples", "expected"), [(1, 100, "noise"), (3, 100, "weak_core"), (99, 10_000, "dead")]
)
def test_shares_counted_from_samples_meet_the_boundaries_exactly(smoke, hits, samples, expected):
    top1 = np.zeros(samples, dtype=int)
    top1[:hits] = 1
    assert census.taxonomy(census.usage_shares(top1, 2)[1], 0.0, smoke["v1"].census) == expected


def test_entropy_of_usage():
    assert census.usage_entropy(np.full(16, 1 / 16)) == pytest.approx(1.0)
    assert census.usage_entropy(np.eye(8)[3]) == pytest.approx(0.0)
    assert census.usage_entropy(np.array([0.5, 0.5, 0, 0])) == pytest.approx(math.log(2) / math.log(4))


def test_dead_counts_under_each_definition(smoke):
    usage = np.array([0.0, 0.0009, 0.001, 0.0099, 0.01, 0.02, 0.4582, 0.5])
    # 16 % of the fair share of 8 experts is .02; of 200 assignments two are 1 %
    assigned = np.array([0, 1, 2, 2, 3, 4, 88, 100])
    assert census.dead_counts(usage, assigned, smoke["v1"].census) == {
        "dead_experts": 4.0,
        "dead_experts_assigned": 2.0,
        "dead_experts_tenth_percent": 2.0,
        "dead_experts_fair_share": 5.0,
        "active_experts": 4.0,
    }


def test_definitions_agree_at_sixteen_experts(smoke):
    usage = np.array([0.0099, 0.01, *[0.07] * 14])
    counts = census.dead_counts(usage, np.ones(16), smoke["v1"].census)
    assert counts["dead_experts"] == counts["dead_experts_fair_share"] == 1.0


def test_tier_shares(smoke):
    usage = np.array([0.05] * 8 + [0.1] * 4 + [0.05] * 4)
    assert census.tier_shares(usage, smoke["v1"].moe.tier_of_expert) == pytest.approx([0.4, 0.4, 0.2])


def test_silence_needs_more_than_the_limit_in_a_row_and_ends_with_one_token():
    counter = census.SilenceCounter(1, 3)
    for _ in range(100):
        counter.add(np.array([[4, 0, 0]]))
    assert counter.silent_experts(100) == 0
    counter.add(np.array([[4, 0, 0]]))
    assert counter.silent_experts(100) == 2
    restored = census.SilenceCounter(1, 3)
    restored.load_state_dict(counter.state_dict())
    restored.add(np.array([[0, 1, 0]]))
    assert (restored.silent_experts(100), counter.silent_experts(100)) == (1, 2)


def test_silent_experts_are_those_of_the_worst_layer():
    counter = census.SilenceCounter(2, 4)
    counter.add(np.array([[0, 0, 5, 5], [3, 0, 3, 4]]))
    assert counter.silent_experts(0) == 2
