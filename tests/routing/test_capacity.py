from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moe_replication.routing.capacity import limit_load


def _limited(scores, raw, target, capacity):
    limited = limit_load(scores[None], raw[None], target, capacity)
    assert torch.equal(limited.cutoff_PE[0], scores.topk(target, dim=0).values[-1])
    return limited.mask_PME[0], limited.saturation, limited.starvation


def test_pools_are_limited_one_by_one_and_rates_are_over_all():
    scores = torch.tensor([4.0, 3.0, 2.0, 1.0]).repeat(2).view(2, 4, 1)
    raw = torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0]]).bool().view(2, 4, 1)
    limited = limit_load(scores, raw, 2, 0.5)
    # 1 to 3 tokens each: the first pool drops one of four, the second lacks its one
    assert limited.mask_PME.flatten(1).tolist() == [[True, True, True, False], [True, False, False, False]]
    assert limited.cutoff_PE.tolist() == [[3.0], [3.0]]
    assert limited.saturation.item() == pytest.approx(1 / 4)
    assert limited.starvation.item() == pytest.approx(1 / 2)


def test_surplus_shortage_and_rates_on_paper():
    scores = torch.tensor([[9.0, 1.0], [8.0, 2.0], [7.0, 3.0], [6.0, 4.0], [5.0, 5.0], [4.0, 6.0]])
    raw = torch.tensor([[True, False]] * 5 + [[False, False]])
    # k = 2, C = 0.5: expert 0 keeps the best 3 of 5, expert 1 is padded to 1
    mask, saturation, starvation = _limited(scores, raw, 2, 0.5)
    assert mask.t().tolist() == [[True] * 3 + [False] * 3, [False] * 5 + [True]]
    assert saturation.item() == pytest.approx(2 / 5)
    assert starvation.item() == pytest.approx(1 / 2)


def test_loads_within_the_limits_are_left_alone():
    scores = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    raw = scores >= scores.topk(4, dim=0).values[-1]
    mask, saturation, starvation = _limited(scores, raw, 4, 0.5)
    assert torch.equal(mask, raw)
    assert saturation.item() == starvation.item() == 0.0


def test_zero_means_no_limit():
    raw = torch.tensor([[True, False]] * 4)
    mask, saturation, starvation = _limited(torch.zeros(4, 2), raw, 2, 0.0)
    assert torch.equal(mask, raw)
    assert saturation.item() == starvation.item() == 0.0


def test_no_expert_selected_anywhere_gives_finite_rates():
    scores = torch.arange(8.0).view(4, 2)
    mask, saturation, starvation = _limited(scores, torch.zeros(4, 2, dtype=torch.bool), 2, 0.5)
    assert mask.sum(dim=0).tolist() == [1, 1]
    assert (saturation.item(), starvation.item()) == (0.0, 1.0)


@pytest.mark.parametrize(("capacity", "target"), [(0.15, 100), (0.4, 45), (0.7, 10), (0.3, 10), (0.5, 3)])
def test_limits_are_exact_for_decimal_capacities(capacity, target):
    """(1+C)k and (1-C)k as numbers, not as their binary neighbours: 1.15 * 100 is 115."""
    exact = Fraction(str(capacity))
    scores = torch.arange(4.0 * target)[:, None].repeat(1, 2)
    raw = torch.stack([torch.ones(4 * target), torch.zeros(4 * target)], dim=1).bool()
    mask, _, _ = _limited(scores, raw, target, capacity)
    assert mask.sum(dim=0).tolist() == [math.floor((1 + exact) * target), math.ceil((1 - exact) * target)]


@settings(max_examples=40, deadline=None)
@given(
    tokens=st.integers(12, 50), target=st.integers(1, 12), quarter=st.integers(1, 4), shift=st.floats(-3, 3),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_load_stays_within_limits_and_follows_the_scores(tokens, target, quarter, shift, seed):
    capacity = quarter / 4
    scores = torch.randn(tokens, 4, generator=torch.Generator().manual_seed(seed))
    raw = scores > shift
    mask, saturation, starvation = _limited(scores, raw, target, capacity)
    upper = min(tokens, math.floor((1 + capacity) * target))
    lower = min(tokens, math.ceil((1 - capacity) * target))
    loads = mask.sum(dim=0)
    assert torch.equal(loads, raw.sum(dim=0).clamp(lower, upper))
    assert (scores.masked_fill(~mask, torch.inf).amin(0) >= scores.masked_fill(mask, -torch.inf).amax(0)).all()
    assert 0 <= saturation.item() < 1
    assert 0 <= starvation.item() <= 1
