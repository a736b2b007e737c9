"""Float32 masters behind bfloat16 weights: updates that bfloat16 cannot hold add up."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from moe_replication.models.gpt import GPT

# bfloat16 knows no number between 0.99805 and 1: a step of this size is lost without a master.
RATE, STEPS = 2e-4, 50


@pytest.mark.parametrize("stage", [1, 2])
def test_steps_below_the_resolution_of_bfloat16_add_up(smoke, stage):
    """Adam's step under a constant gradient is its rate, so weights of 1 must arrive at 1 - 50 * rate."""
    from moe_replication.training.engine import Engine

    config = smoke["l1"]
    training = replace(config.training, batch_size=1, micro_batch_size=1)
    optimizer = replace(config.optimizer, weight_decay=0.0)
    engine = replace(config.engine, zero_stage=stage, precision="bfloat16", world_size=1)
    config = replace(config, engine=engine, training=training, optimizer=optimizer)
    model = GPT(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
    wrapped = Engine(model, config)
    for step in range(STEPS):
        for group in wrapped.optimizer.param_groups:
            group["lr"] = RATE
        wrapped.backward(sum(parameter.float().sum() for parameter in model.parameters()))
        assert wrapped.step()
        if step == 0:
            assert all((parameter == 1.0).all() for parameter in model.parameters())
    masters = wrapped.optimizer.single_partition_of_fp32_groups
    assert {master.dtype for master in masters} == {torch.float32}
    arrived = torch.tensor(1.0 - RATE * STEPS)
    for parameter in model.parameters():
        assert parameter.dtype == torch.bfloat16
        torch.testing.assert_close(parameter.detach().float(), arrived.expand(parameter.shape), rtol=0, atol=0.004)
