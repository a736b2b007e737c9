from __future__ import annotations

import math

import pytest
import torch
from torch import tensor

from moe_replication.evaluation.threshold_shift import LoadMeter

# One layer, five tokens, two experts; k = 2 * 1 / 2 = 1 in batches of two tokens, the fifth is left out.
MASK_LNE = tensor([[[1, 0], [1, 0], [0, 0], [1, 1], [1, 1]]], dtype=torch.bool)
LOSSES_N = tensor([1.0, 2.0, 3.0, 4.0, 90.0])


def test_batches_of_two_worked_by_hand():
    meter = LoadMeter(2, top_k=1, experts=2)
    meter.add(MASK_LNE, LOSSES_N)
    row = meter.row("code")
    # Loads by batch: (2, 0) and (1, 1).
    assert row == {
        "domain": "code", "batch_tokens": 2, "loss": 2.5, "usage_mean": 0.5, "usage_low": 0.25, "usage_high": 0.75,
        "load_max_over_mean": 1.5, "load_worst": 2.0, "zero_expert_share": 0.25, "tokens": 4,
    }  # fmt: skip


def test_single_tokens_leave_out_those_without_expert():
    meter = LoadMeter(1, top_k=1, experts=2)
    meter.add(MASK_LNE[:, :4], LOSSES_N[:4])
    row = meter.row("code")
    assert row["load_max_over_mean"] == pytest.approx((2 + 2 + 1) / 3)
    assert row["load_worst"] == 2.0
    assert row["usage_low"] == 0.25


def test_passes_add_up():
    generator = torch.Generator().manual_seed(0)
    mask_LNE = torch.rand(3, 48, 4, generator=generator) < 0.3
    losses_N = torch.rand(48, generator=generator)
    whole, parts = LoadMeter(8, 1, 4), LoadMeter(8, 1, 4)
    whole.add(mask_LNE, losses_N)
    parts.add(mask_LNE[:, :16], losses_N[:16])
    parts.add(mask_LNE[:, 16:], losses_N[16:])
    assert parts.row("math") == pytest.approx(whole.row("math"))


def test_a_constant_fanout_is_spread_best_at_max_over_mean_one():
    meter = LoadMeter(16, 1, 4)
    meter.add(torch.eye(4, dtype=torch.bool).repeat(8, 1)[None], torch.zeros(32))
    row = meter.row("validation")
    assert (row["load_max_over_mean"], row["load_worst"], row["usage_low"], row["usage_high"]) == (1, 1, 0.25, 0.25)


def test_text_shorter_than_a_batch_gives_nulls():
    meter = LoadMeter(256, 1, 2)
    meter.add(MASK_LNE, LOSSES_N)
    row = meter.row("code")
    assert row["tokens"] == 0
    assert row["loss"] is row["load_worst"] is row["load_max_over_mean"] is None


def test_load_of_random_routing_concentrates_with_the_batch():
    mask_LNE = torch.rand(2, 4096, 16, generator=torch.Generator().manual_seed(1)) < 1 / 16
    rows = []
    for tokens in (16, 256, 4096):
        meter = LoadMeter(tokens, 1, 16)
        meter.add(mask_LNE, torch.zeros(4096))
        rows.append(meter.row("validation"))
    worst = [row["load_worst"] for row in rows]
    assert worst == sorted(worst, reverse=True)
    assert all(math.isclose(row["usage_mean"], rows[0]["usage_mean"]) for row in rows)
