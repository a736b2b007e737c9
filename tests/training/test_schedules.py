from __future__ import annotations

import pytest

from moe_replication.training.schedules import horizon_decay, linear_decay, linear_warmup

PAPER_STEPS = 19_073  # 10B tokens in batches of 524,288


@pytest.mark.parametrize(("step", "expected"), [(0, 1.0), (1, 0.91), (5, 0.55), (9, 0.19), (10, 0.1)])
def test_linear_decay_on_paper(step, expected):
    assert linear_decay(step, 10, 1.0, 0.1) == pytest.approx(expected)


@pytest.mark.parametrize(("step", "expected"), [(0, 1.0), (79, 1.0), (80, 1.0), (85, 0.75), (90, 0.5), (99, 0.05)])
def test_released_schedule_is_constant_then_linear_to_zero(step, expected):
    assert linear_decay(step, 100, 0.2, 0.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("step", "warmup", "expected"),
    [(0, 4, 0.25), (1, 4, 0.5), (3, 4, 1.0), (9, 4, 1.0), (0, 0, 1.0), (0, 1, 1.0)],
)
def test_linear_warmup_on_paper(step, warmup, expected):
    assert linear_warmup(step, warmup) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("reference", "steps", "expected"),
    [
        (None, 10, 0.999),
        (PAPER_STEPS, PAPER_STEPS, 0.999),
        (1000, 100, 0.99),
        (1000, 10_000, 0.9999),
        (1000, 1, 0.0),
        (PAPER_STEPS, 10, 0.0),
    ],
)
def test_memory_keeps_its_share_of_the_horizon(reference, steps, expected):
    assert horizon_decay(0.999, reference, steps) == pytest.approx(expected, abs=1e-12)


def test_memory_share_is_constant():
    shares = [(1 - horizon_decay(0.999, PAPER_STEPS, steps)) * steps for steps in (200, 2_000, 20_000)]
    assert shares == pytest.approx([19.073] * 3)


def test_fractions_give_the_papers_steps_at_its_horizon(smoke):
    """4,000 steps of expert choice, 250 of AdamW warm-up (paper A)."""
    config = smoke["et"]
    assert round(config.routing.warmup_fraction * PAPER_STEPS) == 4_000
    assert round(config.optimizer.adamw_warmup_fraction * PAPER_STEPS) == 250
