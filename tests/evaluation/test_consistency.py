"""Consistency of two checkpoints' routing on edges few enough to count by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_replication.evaluation.consistency import ConsistencySums

SIMILARITIES = ("weighted_jaccard", "weighted_dice", "token_jaccard", "token_dice")
DISTANCES = ("token_jsd", "token_tv", "joint_jsd", "total_variation")


def _metrics(mask_a, gates_a, mask_b, gates_b) -> dict[str, float]:
    sums = ConsistencySums()
    sums.add(mask_a, gates_a, mask_b, gates_b)
    return sums.result()


def _routing(weights: list[list[list[float]]], inactive_gate: float = 0.9) -> tuple[torch.Tensor, torch.Tensor]:
    """Mask and gates whose edges weigh as given; an inactive expert has a gate too, which must not count."""
    weights_LNE = torch.tensor(weights)
    return weights_LNE > 0, torch.where(weights_LNE > 0, weights_LNE, inactive_gate)


def _random(seed: int, shape: tuple[int, int, int], density: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator) < density, torch.rand(shape, generator=generator)


def _edges(mask, gates) -> dict[tuple[int, int, int], float]:
    """Weight of every edge by (layer, token, expert), one at a time."""
    places = [tuple(place) for place in mask.nonzero().tolist()]
    totals: dict[tuple[int, int], float] = {}
    for place in places:
        totals[place[:2]] = totals.get(place[:2], 0.0) + gates[place].item()
    return {place: gates[place].item() / totals[place[:2]] for place in places}


def test_two_tokens_and_three_experts_by_hand():
    """Token 0 shares one of two edges, token 1 shares its only edge.

    Edge weights a: .5 .5 0 | 0 0 1, b: .25 0 .75 | 0 0 1. Pooled: a = 2, b = 2, min = .25 + 1, max = .5 + .5 + .75 + 1.
    """
    found = _metrics(*_routing([[[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]]), *_routing([[[0.25, 0.0, 0.75], [0, 0, 1.0]]]))
    # token 0, p = (1/2, 1/2, 0) and q = (1/4, 0, 3/4): mixture (3/8, 1/4, 3/8)
    divergence = (0.5 * math.log2(4 / 3) + 0.5 * math.log2(2) + 0.25 * math.log2(2 / 3) + 0.75 * math.log2(2)) / 2
    # the pooled distributions are half of these, and the shared edge of token 1 adds nothing
    expected = {
        "weighted_jaccard": 1.25 / 2.75,
        "weighted_dice": 2 * 1.25 / 4,
        "token_jaccard": (1 / 3 + 1) / 2,
        "token_dice": (2 / 4 + 1) / 2,
        "token_jsd": divergence / 2,
        "token_tv": 0.75 / 2,
        "joint_jsd": divergence / 2,
        "total_variation": 0.75 / 2,
    }
    assert found == pytest.approx(expected)


def test_a_tokens_gates_count_relative_to_one_another():
    """Neither the size of all gates nor how it spreads over tokens matters, only a token's choice among experts."""
    for first, second in (([[0.8, 0.4]], [[0.4, 0.2]]), ([[0.9], [0.1]], [[0.5], [0.5]])):
        found = _metrics(*_routing([first]), *_routing([second]))
        assert [found[name] for name in DISTANCES] == pytest.approx([0] * 4, abs=1e-12)
        assert [found[name] for name in SIMILARITIES] == pytest.approx([1] * 4)


def test_every_token_with_an_expert_weighs_the_same_in_the_pool():
    """a: (3/4, 1/4 | 1), b: (1/4, 3/4 | 1): the second token agrees whatever its gate."""
    found = _metrics(*_routing([[[0.6, 0.2], [0.1, 0.0]]]), *_routing([[[0.2, 0.6], [0.9, 0.0]]]))
    assert (found["weighted_jaccard"], found["weighted_dice"]) == pytest.approx((1.5 / 2.5, 3 / 4))
    assert found["total_variation"] == pytest.approx(0.25)


def test_base_two_is_the_papers():
    """One edge a token, all of one weight, a share d moved: J = (1 - d) / (1 + d), and the JSD is d in base 2 alone.

    So the JSD follows from the paper's Jaccard values of token choice (Figures 8 and 14), to their three digits.
    """
    before, after = torch.arange(80) % 4, (torch.arange(80) + (torch.arange(80) < 20)) % 4
    masks = [torch.nn.functional.one_hot(chosen, 4).bool()[None] for chosen in (before, after)]
    gates = torch.full((1, 80, 4), 0.7)
    found = _metrics(masks[0], gates, masks[1], gates)
    assert (found["joint_jsd"], found["weighted_jaccard"]) == pytest.approx((0.25, 0.75 / 1.25))
    jaccard, divergence = (0.645, 0.607, 0.595, 0.745, 0.743, 0.797), (0.216, 0.244, 0.254, 0.146, 0.148, 0.113)
    for similarity, reported in zip(jaccard, divergence, strict=True):
        assert (1 - similarity) / (1 + similarity) == pytest.approx(reported, abs=1e-3)


def test_both_empty_is_identical():
    empty = _routing([[[0.0, 0.0], [0.0, 0.0]]])
    found = _metrics(*empty, *empty)
    assert found == dict.fromkeys(SIMILARITIES, 1.0) | dict.fromkeys(DISTANCES, 0.0)


@pytest.mark.parametrize("swapped", [False, True])
def test_one_empty_is_maximally_different(swapped):
    sides = [_routing([[[0.0, 0.0]]]), _routing([[[0.3, 0.6]]])]
    first, second = reversed(sides) if swapped else sides
    found = _metrics(*first, *second)
    assert found == dict.fromkeys(SIMILARITIES, 0.0) | dict.fromkeys(DISTANCES, 1.0)


def test_empty_tokens_count_in_the_token_mean():
    """Of four token-layer pairs: both empty, only a, only b, the same edge."""
    found = _metrics(*_routing([[[0.0], [0.5]], [[0.0], [0.5]]]), *_routing([[[0.0], [0.0]], [[0.5], [0.5]]]))
    assert [found[name] for name in ("token_jaccard", "token_dice", "token_jsd", "token_tv")] == [0.5] * 4
    assert (found["weighted_jaccard"], found["weighted_dice"]) == pytest.approx((1 / 3, 1 / 2))
    # a: (1/2, 0, 1/2), b: (0, 1/2, 1/2)
    assert (found["joint_jsd"], found["total_variation"]) == pytest.approx((0.5, 0.5))


def test_disjoint_edges_are_as_far_apart_as_can_be():
    found = _metrics(*_routing([[[0.7, 0.0], [0.2, 0.0]]]), *_routing([[[0.0, 0.7], [0.0, 0.9]]]))
    assert found == pytest.approx(dict.fromkeys(SIMILARITIES, 0.0) | dict.fromkeys(DISTANCES, 1.0))


cases = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 5))


@settings(max_examples=40, deadline=None)
@given(shape=cases, density=st.sampled_from([0.0, 0.2, 0.6, 1.0]), seed=st.integers(0, 999))
def test_identity_symmetry_and_bounds(shape, density, seed):
    first, second = _random(seed, shape, density), _random(seed + 1000, shape, 0.4)
    assert _metrics(*first, *first) == dict.fromkeys(SIMILARITIES, 1.0) | dict.fromkeys(DISTANCES, 0.0)
    forward, backward = _metrics(*first, *second), _metrics(*second, *first)
    assert forward == pytest.approx(backward, abs=1e-12)
    assert all(0.0 <= value <= 1.0 for value in forward.values())
    for kind in ("weighted", "token"):  # Dice = 2J / (1 + J) of one pair of sets, so never below Jaccard
        assert forward[f"{kind}_dice"] >= forward[f"{kind}_jaccard"] - 1e-12
    for jsd, tv in (("token_jsd", "token_tv"), ("joint_jsd", "total_variation")):  # Lin (1991), base 2
        assert forward[jsd] <= forward[tv] + 1e-12


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4), seed=st.integers(0, 999))
def test_a_stream_of_batches_gives_what_one_batch_gives(sizes, seed):
    first, second = _random(seed, (2, sum(sizes), 4), 0.3), _random(seed + 1000, (2, sum(sizes), 4), 0.3)
    sums = ConsistencySums()
    for parts in zip(*(tensor.split(sizes, dim=1) for tensor in (*first, *second)), strict=True):
        sums.add(*parts)
    assert sums.result() == pytest.approx(_metrics(*first, *second), abs=1e-12)


def test_agrees_with_a_loop_over_every_edge():
    (mask_a, gates_a), (mask_b, gates_b) = _random(1, (2, 7, 4), 0.4), _random(2, (2, 7, 4), 0.4)
    edges_a, edges_b = _edges(mask_a, gates_a), _edges(mask_b, gates_b)
    places = sorted(edges_a | edges_b)
    pairs = [(edges_a.get(place, 0.0), edges_b.get(place, 0.0)) for place in places]
    total_a, total_b = sum(edges_a.values()), sum(edges_b.values())
    jsd = 0.0
    for a, b in pairs:
        p, q = a / total_a, b / total_b
        jsd += sum(x * math.log2(2 * x / (p + q)) for x in (p, q) if x > 0) / 2
    found = _metrics(mask_a, gates_a, mask_b, gates_b)
    assert found["weighted_jaccard"] == pytest.approx(sum(map(min, pairs)) / sum(map(max, pairs)))
    assert found["total_variation"] == pytest.approx(sum(abs(a / total_a - b / total_b) for a, b in pairs) / 2)
    assert found["joint_jsd"] == pytest.approx(jsd)


def test_shapes_that_differ_and_no_tokens_are_refused():
    one, two = _random(0, (1, 2, 3), 0.5), _random(0, (1, 2, 4), 0.5)
    with pytest.raises(ValueError, match=r"one shape \(L, N, E\), got \(1, 2, 3\), \(1, 2, 3\), \(1, 2, 4\)"):
        _metrics(*one, *two)
    with pytest.raises(ValueError, match="no tokens"):
        ConsistencySums().result()
    with pytest.raises(ValueError, match="no tokens"):
        _metrics(*_random(0, (2, 0, 3), 0.5), *_random(0, (2, 0, 3), 0.5))
