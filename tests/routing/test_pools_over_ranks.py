from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict

import pytest
import torch

from moe_replication import distributed
from moe_replication.routing import expert_choice


def _logits() -> torch.Tensor:
    return torch.randn(16, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_keeps_its_rows_of_the_common_choice(routing, monkeypatch, rank):
    logits = _logits()
    whole, cutoff = expert_choice.choose(logits, 16, routing())
    monkeypatch.setattr(expert_choice, "gather_rows", lambda _rows: logits)
    monkeypatch.setattr(expert_choice, "rank", lambda: rank)
    mine = slice(8 * rank, 8 * rank + 8)
    mask, seen = expert_choice.choose(logits[mine], 16, routing())
    assert torch.equal(mask, whole[mine])
    assert torch.equal(seen, cutoff)


@pytest.mark.parametrize("rank", [0, 1])
def test_pools_within_a_rank_need_no_other(routing, monkeypatch, rank):
    monkeypatch.setattr(expert_choice, "gather_rows", lambda _rows: pytest.fail("gathered"))
    monkeypatch.setattr(expert_choice, "rank", lambda: rank)
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
from moe_replication.config.run import RoutingConfig
from moe_replication.routing import RoutingContext, RoutingState, expert_choice
from moe_replication.routing.update import end_step, record_pass

rank, folder, config = int(sys.argv[1]), sys.argv[2], RoutingConfig(**json.loads(sys.argv[3]))
torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
logits = torch.load(f"{folder}/logits.pt")[8 * rank : 8 * rank + 8]
state = RoutingState.empty(4)
selection = expert_choice.select(logits, state, config, RoutingContext(training=True, pool_tokens=16))
record_pass(state, logits, selection, config)
end_step(state, config, 0.0)
load = distributed.mean_over_ranks(selection.mask_NE.float().mean(dim=0))
torch.save((selection.mask_NE, state.cutoff_E, load), f"{folder}/{rank}.pt")
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_choose_like_one(routing, tmp_path):
    config = routing(rule="expert_choice")
    torch.save(_logits(), tmp_path / "logits.pt")
    arguments = [str(tmp_path), json.dumps(asdict(config))]
    workers = [subprocess.Popen([sys.executable, "-c", _WORKER, str(rank), *arguments]) for rank in range(2)]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    (first, cutoff, load), (second, other_cutoff, other_load) = (torch.load(tmp_path / f"{r}.pt") for r in (0, 1))
    whole, expected = expert_choice.choose(_logits(), 16, config)
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(cutoff, expected)
    assert torch.equal(other_cutoff, expected)
    assert load.tolist() == other_load.tolist() == [0.25] * 4
