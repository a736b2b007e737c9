from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict

import pytest
import torch

from moe_replication import distributed
from moe_replication.routing import RULES, RoutingContext, RoutingState, expert_choice, expert_threshold, thresholds


def _logits() -> torch.Tensor:
    return torch.randn(16, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_keeps_its_rows_of_the_common_choice(routing, monkeypatch, rank):
    logits = _logits()
    whole, cutoff = expert_choice.choose(logits, 16, routing())
    monkeypatch.setattr(thresholds, "gather_rows", lambda _rows: logits)
    monkeypatch.setattr(thresholds, "rank", lambda: rank)
    mine = slice(8 * rank, 8 * rank + 8)
    mask, seen = expert_choice.choose(logits[mine], 16, routing())
    assert torch.equal(mask, whole[mine])
    assert torch.equal(seen, cutoff)


@pytest.mark.parametrize("rank", [0, 1])
def test_thresholds_capacity_and_cut_off_are_those_of_all_ranks(routing, monkeypatch, rank):
    logits, state = _logits(), RoutingState.empty(4)
    config, context = routing("expert_threshold", fallback=True), RoutingContext(training=True, pool_tokens=16)
    whole = expert_threshold.select(logits, state, config, context)
    monkeypatch.setattr(thresholds, "gather_rows", lambda _rows: logits)
    monkeypatch.setattr(thresholds, "rank", lambda: rank)
    mine = slice(8 * rank, 8 * rank + 8)
    part = expert_threshold.select(logits[mine], state, config, context)
    assert torch.equal(part.mask_NE, whole.mask_NE[mine])
    for name in ("batch_cutoff_E", "raw_usage_E", "saturation", "starvation"):
        assert torch.equal(getattr(part, name), getattr(whole, name)), name


@pytest.mark.parametrize("rank", [0, 1])
def test_pools_within_a_rank_need_no_other(routing, monkeypatch, rank):
    monkeypatch.setattr(thresholds, "gather_rows", lambda _rows: pytest.fail("gathered"))
    monkeypatch.setattr(thresholds, "rank", lambda: rank)
    mask, _ = expert_choice.choose(_logits()[:8], 8, routing())
    assert mask.sum(dim=0).tolist() == [2] * 4


def test_one_process_is_its_own_group():
    rows = _logits()
    assert (distributed.world_size(), distributed.rank()) == (1, 0)
    assert distributed.gather_rows(rows) is rows
    assert distributed.mean_over_ranks(rows) is rows


_WORKER = """
import json, sys
import torch
from moe_replication import distributed
from moe_replication.config.sections import RoutingConfig
from moe_replication.routing import RULES, RoutingContext, RoutingState
from moe_replication.routing.update import end_step, record_pass

rank, folder, config = int(sys.argv[1]), sys.argv[2], RoutingConfig(**json.loads(sys.argv[3]))
torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
logits = torch.load(f"{folder}/logits.pt")[8 * rank : 8 * rank + 8]
state = RoutingState.empty(4)
selection = RULES[config.rule](logits, state, config, RoutingContext(training=True, pool_tokens=16))
record_pass(state, selection)
end_step(state, config, 0.0)
load = distributed.mean_over_ranks(selection.mask_NE.float().mean(dim=0))
torch.save((selection.mask_NE, state.cutoff_E, load, selection.aux_loss), f"{folder}/{rank}.pt")
torch.distributed.destroy_process_group()
"""


def _two_processes(config, folder):
    """(mask, cut-off, mean load, auxiliary loss) of two real gloo ranks with half of the tokens each."""
    torch.save(_logits(), folder / "logits.pt")
    arguments = [str(folder), json.dumps(asdict(config))]
    workers = [subprocess.Popen([sys.executable, "-c", _WORKER, str(rank), *arguments]) for rank in range(2)]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["expert_choice", "expert_threshold"])
def test_two_processes_choose_like_one(routing, tmp_path, rule):
    config, state = routing(rule), RoutingState.empty(4)
    (first, cutoff, load, _), (second, other_cutoff, other_load, _) = _two_processes(config, tmp_path)
    whole = RULES[rule](_logits(), state, config, RoutingContext(training=True, pool_tokens=16))
    assert torch.equal(torch.cat([first, second]), whole.mask_NE)
    assert torch.equal(cutoff, whole.batch_cutoff_E)
    assert torch.equal(other_cutoff, whole.batch_cutoff_E)
    assert torch.equal(load, whole.mask_NE.float().mean(dim=0))
    assert torch.equal(other_load, load)


@pytest.mark.slow
def test_balance_pool_of_the_batch_gives_the_loss_of_one_process(routing, tmp_path):
    config = routing(balance="aux", balance_pool="batch", aux_weight=1.0)
    losses = [found[3] for found in _two_processes(config, tmp_path)]
    context = RoutingContext(training=True, pool_tokens=16)
    whole = RULES["token_choice"](_logits(), RoutingState.empty(4), config, context).aux_loss
    torch.testing.assert_close(torch.stack(losses).mean(), whole)
    local = routing(balance="aux", aux_weight=1.0)
    halves = [
        RULES["token_choice"](part, RoutingState.empty(4), local, context).aux_loss for part in _logits().chunk(2)
    ]
    assert not torch.isclose(torch.stack(halves).mean(), whole)
