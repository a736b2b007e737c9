"""What the engine is asked for, what it refuses, and Muon matrix by matrix where ranks share the state."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace

import pytest
import torch

from moe_replication.config.run import RunConfig
from moe_replication.errors import BadInput
from training_on_ranks import ranks_command


@pytest.fixture
def engine():
    """The engine's module, imported late: it imports DeepSpeed."""
    from moe_replication.training import engine

    return engine


def _with(config: RunConfig, **changes: object) -> RunConfig:
    return replace(config, engine=replace(config.engine, **changes))


def test_offload_moves_the_optimizer_to_the_host(smoke, engine):
    plain = engine.deepspeed_config(_with(smoke["et"], zero_stage=2), torch.bfloat16)
    moved = engine.deepspeed_config(_with(smoke["et"], zero_stage=2, offload="optimizer"), torch.bfloat16)
    assert plain["zero_optimization"] == {"stage": 2}
    assert moved["zero_optimization"]["offload_optimizer"]["device"] == "cpu"
    assert moved["zero_force_ds_cpu_optimizer"] is False


def test_offload_without_a_sharded_optimizer_is_refused(smoke):
    with pytest.raises(
        BadInput, match=r"engine\.offload = optimizer needs engine\.zero_stage = 1 or 2.*set offload to"
    ):
        _with(smoke["et"], zero_stage=0, offload="optimizer")


def test_stage_3_is_refused_with_the_reason(smoke):
    with pytest.raises(
        BadInput, match=r"engine\.zero_stage = 3: DeepSpeed does not shard Mixture-of-Experts layers.*use 1"
    ):
        _with(smoke["et"], zero_stage=3)


@pytest.mark.parametrize(("number", "visible", "taken"), [("0", 1, 0), ("3", 4, 3), ("1", 1, None), ("0", 0, None)])
def test_every_process_of_a_machine_needs_a_gpu(engine, monkeypatch, number, visible, taken):
    monkeypatch.setenv("LOCAL_RANK", number)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: visible)
    if taken is None:
        with pytest.raises(BadInput, match=rf"process {number} of this machine finds {visible} GPU"):
            engine._device_number()
    else:
        assert engine._device_number() == taken


def test_the_number_of_processes_is_checked(engine, monkeypatch):
    monkeypatch.setattr(engine.dist, "is_initialized", lambda: False)
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(BadInput, match=r"engine\.world_size = 2, but 4 process\(es\) were launched"):
        engine.start_distributed(2)


@pytest.mark.parametrize("condition", ["et", "l1"])
@pytest.mark.parametrize("stage", [1, 2])
def test_offloaded_steps_are_the_same_bits(smoke, engine, condition, stage):
    """Of Muon with AdamW (paper A) and AdamW (paper B); in bfloat16 the host keeps Muon's momentum in float32."""
    from moe_replication.models.gpt import GPT

    found = []
    for offload in ("none", "optimizer"):
        config = _with(smoke[condition], zero_stage=stage, precision="float32", offload=offload)
        config = replace(config, training=replace(config.training, batch_size=2, micro_batch_size=1))
        model = GPT(config)
        model.initialize(0)
        wrapped = engine.Engine(model, config)
        for step in range(3):
            wrapped.set_learning_rates(step + 20, 100)
            for sign in (3.0, -1.0):
                torch.manual_seed(step)
                wrapped.backward(sign * sum((p * torch.randn_like(p)).sum() for p in model.parameters()))
                wrapped.step()
        found.append([parameter.detach().clone() for parameter in model.parameters()])
    assert all(torch.equal(kept, moved) for kept, moved in zip(*found, strict=True))


# One step with known gradients, whose mean over ranks is the gradient that one process would have.
_STEP = """
import sys, dataclasses, torch
from moe_replication.config import load_project
from moe_replication.distributed import rank
from moe_replication.models.gpt import GPT
from moe_replication.seeding import torch_generator
from moe_replication.training.engine import Engine
out, ranks = sys.argv[1], int(sys.argv[2])
config = {run.condition: run.config for run in load_project(overrides={"scale": "smoke"}).runs}["et"]
training = dataclasses.replace(config.training, batch_size=ranks, micro_batch_size=1)
for stage, offload in ((0, "none"), (1, "none"), (2, "none"), (2, "optimizer")):
    engine = {"zero_stage": stage, "offload": offload, "world_size": ranks, "precision": "float32"}
    made = dataclasses.replace(config, engine=dataclasses.replace(config.engine, **engine), training=training)
    model = GPT(made)
    model.initialize(0)
    wrapped = Engine(model, made)
    weights = dict(model.named_parameters())
    # Of three ranks the second has the mean.
    share = rank() if ranks > 1 else 1.0
    for step in (20, 21):
        wrapped.set_learning_rates(step, 100)
        gradients = {name: torch.randn(p.shape, generator=torch_generator(step, name)) for name, p in weights.items()}
        wrapped.backward(share * sum((p * gradients[name]).sum() for name, p in weights.items()))
        assert wrapped.step()
    torch.save({name: p.detach() for name, p in weights.items()}, f"{out}/{ranks}-{rank()}-{stage}-{offload}.pt")
"""


@pytest.mark.slow
def test_muon_orthogonalises_whole_matrices_where_ranks_share_the_state(tmp_path):
    """Three ranks cut the state inside matrices; every stage must still move each matrix as one process does."""
    for ranks in (1, 3):
        command = ranks_command(ranks, _STEP, str(tmp_path), str(ranks))
        result = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr[-4000:]
    for kind in ("0-none", "1-none", "2-none", "2-optimizer"):
        one = torch.load(tmp_path / f"1-0-{kind}.pt", weights_only=True)
        for rank in range(3):
            many = torch.load(tmp_path / f"3-{rank}-{kind}.pt", weights_only=True)
            for name, weight in one.items():
                torch.testing.assert_close(many[name], weight, rtol=0, atol=2e-6, msg=f"{kind} rank {rank} {name}")
