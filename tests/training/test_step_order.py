"""What a logged step reports after the routing state has moved on."""

from __future__ import annotations

import pytest
import torch

from moe_replication.models.gpt import GPT
from moe_replication.routing import RoutingContext
from moe_replication.routing.update import end_step
from moe_replication.training.routing_statistics import cutoff_deviation, expert_rows, routing_row


def _logged_step(config, beta: float):
    """Forward, end of step, then the log: the order of the training loop. Cut-off average 0.25 before it."""
    model = GPT(config)
    model.initialize(0)
    for layer in model.moe_layers():
        layer.state.cutoff_E.fill_(0.25)
    tokens = torch.randint(0, config.data.vocab_size, (1, 64), generator=torch.Generator().manual_seed(0))
    outputs = model(tokens, RoutingContext(training=True, pool_tokens=64)).routing
    for layer in model.moe_layers():
        end_step(layer.state, config.routing, beta)
    return outputs, model.moe_layers()


def test_expert_threshold_deviates_by_exactly_zero(smoke):
    """Paper A, Figure 3: ET decides by the average itself."""
    outputs, layers = _logged_step(smoke["et"], beta=0.9)
    assert cutoff_deviation(outputs).count_nonzero() == 0
    assert {row["cutoff_deviation"] for row in expert_rows(1, outputs, layers)} == {0.0}


@pytest.mark.parametrize("beta", [0.0, 0.9])
def test_expert_choice_deviates_from_the_average_before_its_batch(smoke, beta):
    outputs, _ = _logged_step(smoke["ec-batch"], beta)
    expected = outputs[0].selection.cutoff_E - 0.25
    torch.testing.assert_close(cutoff_deviation(outputs)[0], expected)


def test_row_of_expert_choice_has_even_usage(smoke):
    row = routing_row(_logged_step(smoke["ec-batch"], 0.9)[0])
    assert row["usage_mean"] == pytest.approx(1 / 16)
    assert row["usage_std"] == pytest.approx(0.0, abs=1e-8)
    assert (row["load_max_over_mean"], row["fanout_mean"]) == pytest.approx((1.0, 1.0))


def test_row_tells_raw_usage_gates_and_logits_apart(smoke):
    outputs, _ = _logged_step(smoke["et-no-warmup"], 0.9)
    row, output = routing_row(outputs), outputs[0]
    raw = (output.logits_NE > 0.25).float().mean().item()
    assert row["raw_usage_mean"] == pytest.approx(raw)
    assert row["usage_mean"] == pytest.approx(output.selection.mask_NE.float().mean().item())
    chosen = output.logits_NE.sigmoid()[output.selection.mask_NE]
    assert (row["gate_mean"], row["gate_std"]) == pytest.approx((chosen.mean().item(), chosen.std(correction=0).item()))
    assert row["logit_std"] == pytest.approx(output.logits_NE.std(correction=0).item())
    zero = (output.selection.mask_NE.sum(dim=1) == 0).float().mean().item()
    assert row["zero_expert_share_training"] == pytest.approx(zero)
