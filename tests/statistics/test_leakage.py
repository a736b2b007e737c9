"""Appendix A's bits against exact binomials."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from moe_replication.errors import BadInput
from moe_replication.statistics.leakage import (
    ideal_bits_per_expert,
    leakage_table,
    least_ideal_bits_per_token,
    log2_binomial,
)


@given(n=st.integers(0, 400), data=st.data())
def test_log2_binomial_is_that_of_the_exact_integer(n, data):
    k = data.draw(st.integers(0, n))
    assert log2_binomial(n, k) == pytest.approx(math.log2(math.comb(n, k)), abs=1e-9)


def test_log2_binomial_at_the_papers_pool():
    assert log2_binomial(2048, 128) == pytest.approx(math.log2(math.comb(2048, 128)), abs=1e-9)
    exact = math.comb(65536, 4096)
    shift = exact.bit_length() - 60
    assert log2_binomial(65536, 4096) == pytest.approx(math.log2(exact >> shift) + shift, abs=1e-6)


@pytest.mark.parametrize(("n", "k"), [(3, 4), (3, -1)])
def test_log2_binomial_refuses(n, k):
    with pytest.raises(ValueError, match=f"n = {n}, k = {k}"):
        log2_binomial(n, k)


def test_six_tokens_and_three_experts_by_hand():
    """k = 2: C(6, 2) = 15 choices; G = 1 and E = 3 give log2(2) = 1 bit a token as lower bound."""
    table = leakage_table([6], experts=3, top_k=1, threshold_bits=8)
    assert table.columns == ["pool_tokens", "quantity", "bits_per_expert", "bits_per_token"]
    assert table.rows() == [
        (6, "ideal", pytest.approx(math.log2(15)), pytest.approx(math.log2(15) / 2)),
        (6, "lower_bound", pytest.approx(2.0), pytest.approx(1.0)),
        (6, "threshold", 8.0, pytest.approx(4.0)),
    ]


def test_two_of_sixteen_experts_are_granularity_two_and_expansion_eight():
    assert least_ideal_bits_per_token(16, 2) == pytest.approx(2 * math.log2(7))
    assert least_ideal_bits_per_token(16, 1) == pytest.approx(math.log2(15))


@given(per_expert=st.integers(1, 300), experts=st.sampled_from([2, 4, 16, 64]), top_k=st.sampled_from([1, 2, 4]))
def test_the_ideal_choice_leaks_between_its_bound_and_its_entropy(per_expert, experts, top_k):
    """k log2(E - 1) <= log2 C(N, k) <= N h(1/E), h the binary entropy."""
    assume(top_k < experts)
    size = per_expert * experts // top_k
    share = top_k / experts
    ideal = leakage_table([size], experts, top_k, 32).row(0)[3]
    entropy = -(share * math.log2(share) + (1 - share) * math.log2(1 - share))
    assert least_ideal_bits_per_token(experts, top_k) - 1e-9 <= ideal <= experts * entropy + 1e-9


def test_a_threshold_of_fixed_precision_leaks_less_per_token_in_larger_pools():
    table = leakage_table([2048, 8192, 65536, 524288], experts=16, top_k=1, threshold_bits=32)
    per_token = table.filter(quantity="threshold")["bits_per_token"].to_list()
    assert per_token == pytest.approx([32 * 16 / size for size in (2048, 8192, 65536, 524288)])
    ideal = table.filter(quantity="ideal")["bits_per_token"]
    assert ideal.is_sorted()  # the choice itself does not get cheaper: it approaches E h(1/E)
    assert ideal_bits_per_expert(2048, 16, 1) == table["bits_per_expert"][0]


def test_settings_without_leakage_are_refused():
    with pytest.raises(BadInput, match="top_k = 4 must be below the 4 experts"):
        leakage_table([64], experts=4, top_k=4, threshold_bits=32)
    with pytest.raises(BadInput, match="pool_tokens = 0"):
        leakage_table([0], experts=4, top_k=1, threshold_bits=32)
