"""Time and peak memory of a forward and backward pass against tokens, experts, width, sequence length and ranks.

Sizes of a sweep take turns, so that their ratios hold on a machine whose speed drifts.
"""

from __future__ import annotations

import ctypes
import gc
import json
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import multiprocessing

from benchmarks.results import row
from benchmarks.timing import in_turn
from moe_replication.config import load_project
from moe_replication.config.run import RunConfig
from moe_replication.layers.moe import MoELayer
from moe_replication.models.gpt import GPT
from moe_replication.routing import RoutingContext

SUITE = "growth"
ROOT = Path(__file__).parents[1]
PAPER, CONDITION = "expert-threshold", "ec-batch"  # every expert takes N/E tokens: the work is known
ROUNDS = 5
LAYER = {"tokens": 8192, "experts": 16, "width": 128}
SEQUENCE_TOKENS, RANK_SEQUENCES = 4096, 16


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One thing that grows. `expected` is the exponent of time that the arithmetic alone gives."""

    title: str
    what: str
    sizes: tuple[int, ...]
    quick_sizes: tuple[int, ...]
    expected: str


SWEEPS = {
    "tokens": Sweep(
        title="tokens", what="MoE layer, width 128, 16 experts",
        sizes=(1024, 2048, 4096, 8192, 16384, 32768), quick_sizes=(1024, 4096, 16384), expected="1",
    ),
    "experts": Sweep(
        title="experts", what="MoE layer, width 128, 8,192 tokens, each expert takes its share",
        sizes=(4, 8, 16, 32, 64, 128, 256), quick_sizes=(4, 16, 64), expected="0",
    ),
    "width": Sweep(
        title="width", what="MoE layer, 16 experts, 8,192 tokens",
        sizes=(64, 128, 256, 512), quick_sizes=(64, 128, 256), expected="2",
    ),
    "sequence": Sweep(
        title="sequence length", what="language model of the cpu scale, 4,096 tokens a pass",
        sizes=(128, 256, 512, 1024, 2048, 4096), quick_sizes=(128, 512, 2048), expected="0, attention alone 1",
    ),
    "ranks": Sweep(
        title="ranks", what="language model of the smoke scale, 1,024 tokens a rank, gradients averaged, one pool",
        sizes=(1, 2, 4), quick_sizes=(1, 2, 4), expected="0 with a core a rank",
    ),
}  # fmt: skip


def run(quick: bool) -> list[dict]:
    """Rows by sweep and size."""
    rows = []
    for name, sweep in SWEEPS.items():
        sizes = sweep.quick_sizes if quick else sweep.sizes
        if name == "ranks":
            measured = {size: on_ranks(size) for size in sizes}
        else:
            passes = {size: one_pass(name, size) for size in sizes}
            seconds = in_turn({str(size): run for size, run in passes.items()}, ROUNDS)
            measured = {size: (seconds[str(size)], peak_bytes(passes[size])) for size in sizes}
        found = [
            row(SUITE, f"{sweep.title} = {size:,}", sweep.what, times, sweep=name, size=size, bytes=memory)
            for size, (times, memory) in measured.items()
        ]
        rows += found
        shown = exponent(found, "seconds")
        print(f"{sweep.title}: time grows with exponent {shown:.2f} ({sweep.expected} by arithmetic)", flush=True)
    return rows


def exponent(rows: list[dict], column: str) -> float:
    """Least-squares slope of log(column) on log(size)."""
    return float(np.polyfit(np.log([r["size"] for r in rows]), np.log([r[column] for r in rows]), 1)[0])


def one_pass(sweep: str, size: int) -> Callable[[], object]:
    """A forward and backward pass of the layer, or of the model in the sweep over sequence lengths."""
    if sweep == "sequence":
        config = _config("cpu")
        return model_pass(GPT(config), config, SEQUENCE_TOKENS // size, size, ranks=1)
    return layer_pass(**(LAYER | {sweep: size}))


def layer_pass(tokens: int, experts: int, width: int) -> Callable[[], object]:
    """Router, selection, experts and shared expert, forward and backward."""
    config = _config("cpu")
    layer = MoELayer(width, width, replace(config.moe, tiers=(experts,)), config.routing)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=width**-0.5)
    x_ND = torch.randn(tokens, width, requires_grad=True)
    gradient_ND = torch.randn(tokens, width)
    context = RoutingContext(training=True, pool_tokens=tokens)

    def both_ways() -> None:
        layer(x_ND, context).y.backward(gradient_ND)
        layer.zero_grad()
        x_ND.grad = None

    return both_ways


def model_pass(model: GPT, config: RunConfig, sequences: int, length: int, ranks: int) -> Callable[[], object]:
    """Forward, loss and backward of the language model; over several ranks gradients are summed."""
    model.initialize(0)
    tokens_BT = torch.randint(config.data.vocab_size, (sequences, length + 1))
    context = RoutingContext(training=True, pool_tokens=sequences * length * ranks)

    def both_ways() -> None:
        output = model(tokens_BT[:, :-1], context)
        model.token_losses(output.hidden_BTD, tokens_BT[:, 1:]).mean().backward()
        if ranks > 1:
            for parameter in model.parameters():
                dist.all_reduce(parameter.grad)
        model.zero_grad()

    return both_ways


def on_ranks(ranks: int) -> tuple[list[float], int | None]:
    """Seconds of a pass and the first rank's peak memory, with `ranks` processes over gloo."""
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_rank, (ranks, folder, torch.get_num_threads()), nprocs=ranks)
        seconds, memory = json.loads(Path(folder, "result.json").read_text(encoding="utf-8"))
    return seconds, memory


def _rank(rank: int, ranks: int, folder: str, threads: int) -> None:
    torch.set_num_threads(threads)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=ranks)
    config = _config("smoke")
    run = model_pass(GPT(config), config, RANK_SEQUENCES, config.data.sequence_length, ranks)
    run()
    seconds = []
    for _ in range(ROUNDS):
        dist.barrier()
        start = time.perf_counter()
        run()
        dist.barrier()
        seconds.append(time.perf_counter() - start)
    memory = peak_bytes(run)
    if rank == 0:
        Path(folder, "result.json").write_text(json.dumps([seconds, memory]), encoding="utf-8")
    dist.destroy_process_group()


def peak_bytes(run: Callable[[], object]) -> int | None:
    """Memory that `run` takes at its highest beyond what the process holds before; None where Linux does not tell.

    Freed memory is first given back to the system, or the run could take it unseen.
    """
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        reset.write_text("5", encoding="ascii")
        before = _kilobytes(status, "VmRSS")
    except (OSError, AttributeError):
        return None
    run()
    return 1024 * (_kilobytes(status, "VmHWM") - before)


def _kilobytes(status: Path, name: str) -> int:
    return int(re.search(rf"^{name}:\s+(\d+)", status.read_text(encoding="utf-8"), re.M)[1])


def _config(scale: str) -> RunConfig:
    return load_project(ROOT, {"scale": scale}).papers[PAPER].conditions[CONDITION].config
