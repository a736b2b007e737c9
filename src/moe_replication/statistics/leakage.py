"""What expert choice tells a token about later tokens of its pool, in bits (paper A, Appendix A).

Per MoE layer. N tokens of the pool, G*E routed experts, G experts a token on average, k = N/E tokens an expert.
Token choice and expert threshold look at no later token and leak nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import polars as pl

from moe_replication.errors import BadInput

TABLE = {"pool_tokens": pl.Int64, "quantity": pl.String, "bits_per_expert": pl.Float64, "bits_per_token": pl.Float64}


def log2_binomial(n: int, k: int) -> float:
    """log2 of n choose k, 0 <= k <= n, through log-gamma: absolute error below 1e-6 up to n = 10^7."""
    if not 0 <= k <= n:
        raise ValueError(f"n = {n}, k = {k}: need 0 <= k <= n")
    return (math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)) / math.log(2)


def tokens_per_expert(pool_tokens: int, experts: int, top_k: int) -> int:
    """k = N/E: how many tokens of the pool each of `experts` takes at fan-out `top_k`, at least one."""
    return max(1, round(pool_tokens * top_k / experts))


def ideal_bits_per_expert(pool_tokens: int, experts: int, top_k: int) -> float:
    """log2 C(N, k): which k tokens of the pool an expert took, all choices being equally likely."""
    return log2_binomial(pool_tokens, tokens_per_expert(pool_tokens, experts, top_k))


def least_ideal_bits_per_token(experts: int, top_k: int) -> float:
    """G * log2(E - 1) per token, below the ideal choice's bits at every pool that E divides."""
    if top_k >= experts:
        raise BadInput(f"top_k = {top_k} must be below the {experts} experts: taking every token leaks nothing")
    return top_k * math.log2(experts / top_k - 1)


def leakage_table(pool_tokens: Sequence[int], experts: int, top_k: int, threshold_bits: int) -> pl.DataFrame:
    """Columns pool_tokens, quantity, bits_per_expert (and pool), bits_per_token (over all experts).

    Quantities: `ideal`, `lower_bound` of it, and `threshold`, the most that reaches a token through a cut-off of
    b bits: given its own logit, the cut-off alone decides. One cut-off an expert and pool, so b bits an expert.
    """
    rows = []
    least = least_ideal_bits_per_token(experts, top_k)
    for size in pool_tokens:
        if size < 1:
            raise BadInput(f"pool_tokens = {size} must be at least 1")
        per_expert = {
            "ideal": ideal_bits_per_expert(size, experts, top_k),
            "lower_bound": least * size / experts,
            "threshold": float(threshold_bits),
        }
        rows += [(size, name, bits, bits * experts / size) for name, bits in per_expert.items()]
    return pl.DataFrame(rows, schema=TABLE, orient="row")
