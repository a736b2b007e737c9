"""What holds for whole streams of scores: loads, cut-offs, the limit of large pools, and symmetry.

Legend: N tokens, E experts, T steps.
"""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch
from scipy import stats
from torch import Tensor

from moe_replication.config.sections import RoutingConfig
from moe_replication.routing import RULES, RoutingContext, RoutingState, Selection, expert_choice, expert_threshold
from moe_replication.routing.balance import loss_free_bias

POOLS = (256, 1024, 4096, 16384)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _state(cutoff_E: Tensor, bias_E: Tensor | None = None) -> RoutingState:
    state = RoutingState.empty(len(cutoff_E))
    return replace(state, cutoff_E=cutoff_E, bias_E=state.bias_E if bias_E is None else bias_E)


def _batch_cutoff(logits_NE: Tensor, config: RoutingConfig) -> Tensor:
    return expert_choice.choose(logits_NE, len(logits_NE), config)[1][0]


@pytest.mark.parametrize("top_k", [1, 2])
def test_expected_load_of_a_threshold_is_the_target_on_a_stationary_stream(routing, evaluation, top_k):
    """E[z] -> k / N for every expert, whatever the mean and spread of its scores; from a cut-off of zero it is not."""
    tokens, experts, steps, settled, beta = 512, 8, 400, 100, 0.95
    config, generator = routing(rule="expert_threshold", top_k=top_k), _generator(0)
    mean_E, spread_E = torch.linspace(-3, 2, experts), torch.linspace(0.3, 3, experts)
    state, load_E = RoutingState.empty(experts), torch.zeros(experts)
    for step in range(steps):
        logits_NE = mean_E + spread_E * torch.randn(tokens, experts, generator=generator)
        usage_E = expert_threshold.select(logits_NE, state, config, evaluation).mask_NE.float().mean(dim=0)
        if step == 0:
            assert (usage_E - top_k / experts).abs().max() > 0.1
        elif step >= settled:
            load_E += usage_E / (steps - settled)
        state.cutoff_E = expert_threshold.next_cutoff(
            state.cutoff_E, _batch_cutoff(logits_NE, config), step, beta, False
        )
    # four standard errors of a mean over 300 * 512 tokens, and k / (N + 1) instead of k / N
    error = 4 * math.sqrt(0.25 * 0.75 / (300 * tokens)) + 1 / tokens
    torch.testing.assert_close(load_E, torch.full((experts,), top_k / experts), atol=error, rtol=0)


def test_error_of_the_average_falls_as_its_memory_grows(routing):
    """Around the true quantile the average of independent cut-offs has sqrt((1 - beta) / (1 + beta)) of their sd."""
    tokens, experts, steps, settled = 1024, 16, 1000, 400
    config, generator = routing(rule="expert_threshold", top_k=4), _generator(1)
    quantile = stats.norm.ppf(1 - 4 / experts)
    batches_TE = torch.stack(
        [_batch_cutoff(torch.randn(tokens, experts, generator=generator), config) for _ in range(steps)]
    )
    alone = (batches_TE - quantile).square().mean().sqrt().item()
    errors = {}
    for beta in (0.0, 0.5, 0.9, 0.98):
        cutoff_E, squares = torch.zeros(experts), 0.0
        for step, batch_E in enumerate(batches_TE):
            cutoff_E = expert_threshold.next_cutoff(cutoff_E, batch_E, step, beta, False)
            squares += (cutoff_E - quantile).square().mean().item() if step >= settled else 0.0
        errors[beta] = math.sqrt(squares / (steps - settled))
        assert errors[beta] == pytest.approx(alone * math.sqrt((1 - beta) / (1 + beta)), rel=0.15)
    assert list(errors.values()) == sorted(errors.values(), reverse=True)


def test_the_average_lags_behind_a_drift_by_its_memory(routing):
    """Cut-offs that rise by v a step: the average trails by v * beta / (1 - beta), so longer memory follows worse."""
    drift = 0.01
    for beta in (0.5, 0.9, 0.99):
        cutoff_E = torch.zeros(1, dtype=torch.float64)
        for step in range(3000):
            batch_E = torch.tensor([drift * step], dtype=torch.float64)
            cutoff_E = expert_threshold.next_cutoff(cutoff_E, batch_E, step, beta, False)
        assert (batch_E - cutoff_E).item() == pytest.approx(drift * beta / (1 - beta))


@pytest.mark.parametrize("scores", ["normal", "exponential"])
def test_cutoff_of_expert_choice_varies_as_one_over_the_root_of_the_pool(routing, scores):
    """Paper A, claim 1: slope -1/2 of log sd against log N; its usage is constant all the while."""
    experts, pools_drawn = 16, 24
    config, generator, spreads = routing(rule="expert_choice"), _generator(2), []
    for size in POOLS:
        cutoffs_TE = torch.empty(pools_drawn, experts)
        for step in range(pools_drawn):
            empty_NE = torch.empty(size, experts)
            logits_NE = getattr(empty_NE, f"{scores}_")(generator=generator)
            mask_NE, cutoffs_TE[step] = expert_choice.choose(logits_NE, size, config)
            assert (mask_NE.sum(dim=0) == size // experts).all()
        # the experts' scores are alike, so their pools count as repetitions
        spreads.append(cutoffs_TE.std().item())
    slope = stats.linregress([math.log(size) for size in POOLS], [math.log(spread) for spread in spreads]).slope
    assert slope == pytest.approx(-0.5, abs=0.05)


@pytest.mark.parametrize("threshold", ["true quantile", "moving average"])
def test_expert_choice_becomes_expert_threshold_in_the_large_pool_limit(routing, evaluation, threshold):
    """Share of assignments that both rules make, of those that either makes, on the same tokens."""
    tokens, experts, beta = POOLS[-1], 16, 0.9
    config, generator = routing(rule="expert_choice"), _generator(3)
    quantile_E = torch.full((experts,), stats.norm.ppf(1 - 1 / experts))
    logits_NE = torch.randn(tokens, experts, generator=generator)
    agreement = []
    for size in (64, *POOLS):
        state = _state(quantile_E)
        if threshold == "moving average":
            for _ in range(60):
                batch_E = _batch_cutoff(torch.randn(size, experts, generator=generator), config)
                state.cutoff_E = expert_threshold.next_cutoff(state.cutoff_E, batch_E, 0, beta, False)
        passed_NE = expert_threshold.select(logits_NE, state, config, evaluation).mask_NE
        chosen_NE, _ = expert_choice.choose(logits_NE, size, config)
        agreement.append(((passed_NE & chosen_NE).sum() / (passed_NE | chosen_NE).sum()).item())
    assert agreement == sorted(agreement)
    assert agreement[0] < 0.75
    assert agreement[-1] > 0.95


# every rule as it is, and the variants that read more than the logits
VARIANTS = [
    *((rule, {}) for rule in RULES),
    ("token_choice", {"balance": "loss_free"}),
    ("token_choice", {"balance": "aux", "top_k": 2}),
    ("expert_threshold", {"fallback": True, "normalize_fanout": True}),
    ("expert_threshold", {"comparison": "greater_equal", "capacity": 0.0}),
    ("expert_choice", {"normalize_fanout": True, "top_k": 2}),
    ("softmax_top_k", {"renormalize": True, "top_k": 3}),
]
CONTEXTS = {
    "training": RoutingContext(training=True, pool_tokens=48, temperature=0.7),
    "warming up": RoutingContext(training=True, pool_tokens=48, warming_up=True),
    "evaluation": RoutingContext(training=False, pool_tokens=48),
}


def _ids(variant: object) -> str | None:
    return None if isinstance(variant, str) else " ".join(variant) or "plain"


def _case() -> tuple[Tensor, RoutingState]:
    generator = _generator(4)
    logits_NE = torch.randn(48, 6, generator=generator) + torch.linspace(-1, 1, 6)
    return logits_NE, _state(0.8 + torch.rand(6, generator=generator), torch.randn(6, generator=generator))


def _assert_permuted(found: Selection, expected: Selection, rows: Tensor, columns: Tensor) -> None:
    for field in fields(expected):
        before, after = getattr(expected, field.name), getattr(found, field.name)
        if before is None:
            assert after is None
            continue
        kind = field.name.rpartition("_")[2]
        moved = {"NE": lambda x: x[rows][:, columns], "E": lambda x: x[columns]}.get(kind, lambda x: x)(before)
        torch.testing.assert_close(after, moved, msg=lambda text, name=field.name: f"{name}: {text}")


@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)
@pytest.mark.parametrize(("rule", "changes"), VARIANTS, ids=_ids)
@pytest.mark.parametrize("moved", ["tokens", "experts", "both"])
def test_permuting_tokens_or_experts_permutes_the_selection(routing, rule, changes, context, moved):
    logits_NE, state = _case()
    generator = _generator(5)
    rows = torch.randperm(48, generator=generator) if moved != "experts" else torch.arange(48)
    columns = torch.randperm(6, generator=generator) if moved != "tokens" else torch.arange(6)
    config = routing(rule=rule, **changes)
    expected = RULES[rule](logits_NE, state, config, context)
    assert 0 < expected.mask_NE.sum() < expected.mask_NE.numel()
    elsewhere = _state(state.cutoff_E[columns], state.bias_E[columns])
    _assert_permuted(RULES[rule](logits_NE[rows][:, columns], elsewhere, config, context), expected, rows, columns)


def test_random_warm_up_moves_with_its_random_scores(routing):
    logits_NE, state = _case()
    random_NE = torch.rand(48, 6, generator=_generator(6))
    rows, columns = torch.randperm(48, generator=_generator(7)), torch.randperm(6, generator=_generator(8))
    config, context = routing(rule="softmax_top_k", top_k=2), CONTEXTS["training"]
    expected = RULES["softmax_top_k"](logits_NE, state, config, replace(context, random_logits_LNE=random_NE[None]))
    moved = replace(context, random_logits_LNE=random_NE[rows][:, columns][None])
    found = RULES["softmax_top_k"](logits_NE[rows][:, columns], state, config, moved)
    _assert_permuted(found, expected, rows, columns)


@pytest.mark.parametrize("rule", ["expert_choice", "expert_threshold"])
def test_within_small_pools_tokens_move_freely_and_across_them_they_do_not(routing, rule):
    logits_NE, state = _case()
    config = routing(rule=rule)
    context = RoutingContext(training=True, pool_tokens=12)
    expected, columns = RULES[rule](logits_NE, state, config, context), torch.arange(6)
    inside = torch.cat([12 * pool + torch.randperm(12, generator=_generator(pool)) for pool in (2, 0, 3, 1)])
    found = RULES[rule](logits_NE[inside], state, config, context)
    # What is shown of expert choice's cut-off is the first pool's, and another pool comes first.
    found.cutoff_E = expected.cutoff_E
    _assert_permuted(found, expected, inside, columns)
    across = torch.randperm(48, generator=_generator(9))
    assert not torch.equal(RULES[rule](logits_NE[across], state, config, context).mask_NE, expected.mask_NE[across])


def test_loss_free_bias_moves_with_its_expert():
    bias_E, load_E = torch.randn(6, generator=_generator(10)), torch.rand(6, generator=_generator(11))
    columns = torch.randperm(6, generator=_generator(12))
    moved_E = loss_free_bias(bias_E[columns], load_E[columns], 0.005)
    torch.testing.assert_close(moved_E, loss_free_bias(bias_E, load_E, 0.005)[columns])
