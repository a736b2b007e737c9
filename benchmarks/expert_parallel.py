"""Replicated experts with gathered logits against experts sharded over ranks, on gloo ranks of this machine.

`python -m benchmarks.expert_parallel` prints the table of docs/planning.md. Both ways choose tokens for experts over
the pool of all ranks from the same gathered logits, and must give the same outputs and gradients before they are timed:

    replicated   every rank has all experts and computes its own tokens; the experts' gradients are summed over ranks
    sharded      a rank has its share of the experts; tokens are sent there and back, and so are their gradients

Legend: N tokens of a rank, D width, H hidden width, E experts, A pairs of token and expert.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from moe_replication.distributed import gather_rows
from moe_replication.files import read_json, write_json
from moe_replication.layers.experts import expert_ffn
from moe_replication.training.launch import MEETING_FILE, Place, run_ranks

WIDTH, HIDDEN, EXPERTS = 128, 256, 16
TOKENS = (256, 2048, 8192)
ROUNDS = 5
TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One rank's tokens and logits, all experts, and the gradient of the outputs."""

    x_ND: Tensor
    logits_NE: Tensor
    up_EHD: Tensor
    down_EDH: Tensor
    gradient_ND: Tensor


class Exchange(torch.autograd.Function):
    """Rows sent to ranks by `out_counts` and got by `in_counts`; their gradients go the way back."""

    @staticmethod
    def forward(context, rows_AD: Tensor, out_counts: list[int], in_counts: list[int]) -> Tensor:
        context.counts = out_counts, in_counts
        return _exchanged(rows_AD, out_counts, in_counts)

    @staticmethod
    def backward(context, gradient_AD: Tensor):
        out_counts, in_counts = context.counts
        return _exchanged(gradient_AD, in_counts, out_counts), None, None


def _exchanged(rows_AD: Tensor, out_counts: list[int], in_counts: list[int]) -> Tensor:
    got = rows_AD.new_empty(sum(in_counts), *rows_AD.shape[1:])
    dist.all_to_all_single(got, rows_AD.contiguous(), in_counts, out_counts)
    return got


def make_problem(tokens: int, rank: int) -> Problem:
    """Other tokens on every rank, the same experts on all."""
    own, shared = torch.Generator().manual_seed(1 + rank), torch.Generator().manual_seed(0)
    draw = lambda generator, *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    return Problem(
        x_ND=draw(own, tokens, WIDTH),
        logits_NE=draw(own, tokens, EXPERTS),
        up_EHD=draw(shared, EXPERTS, HIDDEN, WIDTH) / WIDTH**0.5,
        down_EDH=draw(shared, EXPERTS, WIDTH, HIDDEN) / HIDDEN**0.5,
        gradient_ND=draw(own, tokens, WIDTH),
    )


def choose(logits_NE: Tensor) -> Tensor:
    """(E, N) mask of this rank's tokens that the experts take from the pool of all ranks, as many each."""
    pool_ME = gather_rows(logits_NE)
    size = len(pool_ME) // EXPERTS
    cutoff_E = pool_ME.topk(size, dim=0).values[-1]
    return (logits_NE >= cutoff_E).t()


def apply_experts(rows: list[Tensor], ups: Tensor, downs: Tensor) -> list[Tensor]:
    """Each expert on its rows."""
    return [expert_ffn(part, up, down) for part, up, down in zip(rows, ups.unbind(0), downs.unbind(0), strict=True)]


def replicated(problem: Problem) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs of this rank's tokens, and the summed gradients of all experts."""
    up, down = problem.up_EHD.requires_grad_(), problem.down_EDH.requires_grad_()
    mask_EN = choose(problem.logits_NE)
    ids_A = mask_EN.nonzero()[:, 1]
    outputs = apply_experts(list(problem.x_ND[ids_A].split(mask_EN.sum(1).tolist())), up, down)
    y_ND = torch.zeros_like(problem.x_ND).index_add(0, ids_A, torch.cat(outputs))
    gradients = torch.autograd.grad(y_ND, (up, down), problem.gradient_ND)
    for gradient in gradients:
        dist.all_reduce(gradient)
    return y_ND.detach(), *gradients


def sharded(problem: Problem) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs of this rank's tokens, and the gradients of this rank's experts."""
    ranks, rank = dist.get_world_size(), dist.get_rank()
    own = slice(rank * EXPERTS // ranks, (rank + 1) * EXPERTS // ranks)
    up, down = problem.up_EHD[own].detach().requires_grad_(), problem.down_EDH[own].detach().requires_grad_()
    mask_EN = choose(problem.logits_NE)
    ids_A, counts_E = mask_EN.nonzero()[:, 1], mask_EN.sum(1)
    got_E = torch.empty_like(counts_E)  # source rank by own expert
    dist.all_to_all_single(got_E, counts_E)
    sent, got = (counts.view(ranks, -1).sum(1).tolist() for counts in (counts_E, got_E))
    # A leaf: the tokens' own gradient goes back, too, as in a model.
    x_ND = problem.x_ND.detach().requires_grad_()
    parts = Exchange.apply(x_ND[ids_A], sent, got).split(got_E.tolist())
    mine = EXPERTS // ranks
    outputs = apply_experts([torch.cat(parts[expert::mine]) for expert in range(mine)], up, down)
    pieces = [out.split(got_E.view(ranks, -1)[:, expert].tolist()) for expert, out in enumerate(outputs)]
    back = Exchange.apply(
        torch.cat([pieces[expert][source] for source in range(ranks) for expert in range(mine)]), got, sent
    )
    y_ND = torch.zeros_like(problem.x_ND).index_add(0, ids_A, back)
    _, *gradients = torch.autograd.grad(y_ND, (x_ND, up, down), problem.gradient_ND)
    return y_ND.detach(), *gradients


def check(problem: Problem) -> None:
    """Both ways agree on outputs and on the gradients of this rank's experts."""
    ranks, rank = dist.get_world_size(), dist.get_rank()
    own = slice(rank * EXPERTS // ranks, (rank + 1) * EXPERTS // ranks)
    y_ND, up, down = replicated(problem)
    for found, expected in zip(sharded(problem), (y_ND, up[own], down[own]), strict=True):
        scale = expected.abs().max()
        torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=TOLERANCE)


def seconds(call: Callable[[], object]) -> float:
    """Until all ranks are done."""
    dist.barrier()
    started = time.perf_counter()
    call()
    dist.barrier()
    return time.perf_counter() - started


def measure_size(tokens: int, rank: int, ranks: int) -> dict:
    """Medians in ms of both ways, taken in turn, and the megabytes that a rank sends."""
    problem = make_problem(tokens, rank)
    check(problem)
    calls = {
        "replicated": lambda: replicated(problem),
        "sharded": lambda: sharded(problem),
        "logits": lambda: gather_rows(problem.logits_NE),
    }
    found = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            found[name].append(seconds(call))
    moved = 4 * (ranks - 1) / ranks
    return {name: statistics.median(times) * 1000 for name, times in found.items()} | {
        "ranks": ranks,
        "tokens": tokens,
        # A ring's two rounds of all gradients; a row there and back, in both passes.
        "replicated_mb": moved * 2 * (problem.up_EHD.numel() + problem.down_EDH.numel()) / 1e6,
        "sharded_mb": moved * 4 * tokens * WIDTH / 1e6,
    }


def measure_rank(out: Path) -> None:
    """One rank: all sizes; rank 0 writes the rows."""
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(os.environ[MEETING_FILE], ranks), rank=rank, world_size=ranks)
    rows = [measure_size(tokens, rank, ranks) for tokens in TOKENS]
    if rank == 0:
        write_json(out, {"rows": rows})
    dist.destroy_process_group()


def measure(ranks: int) -> list[dict]:
    """Rows of a number of ranks."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "rows.json")
        command = [sys.executable, "-m", "benchmarks.expert_parallel", "--rank-writes", str(out)]
        code = run_ranks(command, Place(first=0, local=ranks, world_size=ranks, meeting={}))
        if code:
            raise SystemExit(code)
        return read_json(out)["rows"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--rank-writes", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rank_writes:
        measure_rank(options.rank_writes)
        return
    print(
        "| ranks | tokens a rank | replicated | of it gathering logits | sharded | sends, replicated | sends, sharded |"
    )
    print("|---|---|---|---|---|---|---|")
    for ranks in options.ranks:
        for row in measure(ranks):
            print(
                f"| {ranks} | {row['tokens']:,} | {row['replicated']:.1f} ms | {row['logits']:.1f} ms |"
                f" {row['sharded']:.1f} ms | {row['replicated_mb']:.1f} MB | {row['sharded_mb']:.1f} MB |"
            )


if __name__ == "__main__":
    main()
