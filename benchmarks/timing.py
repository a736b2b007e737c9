"""Times that can be compared: candidates in turn, in one process, beside the measured matrix-product peak."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

# Shapes (rows, inner, columns) among which a processor's best rate is looked for; large enough to hide the call.
PEAK_SHAPES = ((256, 256, 256), (512, 512, 512), (1024, 1024, 1024), (512, 768, 1536), (2048, 512, 512))


def in_turn(candidates: dict[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Seconds of every candidate in every round. Candidates take turns, so that a machine whose speed drifts, or that
    others use too, slows all of them alike; ratios are taken round by round.
    """
    for _ in range(warm_up):
        for run in candidates.values():
            run()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(slow: list[float], fast: list[float]) -> float:
    """Median over rounds of slow / fast."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def product(dtype: torch.dtype, shape: tuple[int, int, int]) -> tuple[Callable[[], torch.Tensor], float]:
    """A matrix product of a shape and its FLOPs."""
    rows, inner, columns = shape
    left, right = torch.randn(rows, inner).to(dtype), torch.randn(inner, columns).to(dtype)
    return lambda: left @ right, 2.0 * rows * inner * columns


def gemm_peak(dtype: torch.dtype, rounds: int = 20) -> float:
    """FLOP/s of the fastest of PEAK_SHAPES in `dtype` with the threads that torch has now: the best round counts."""
    best = 0.0
    for shape in PEAK_SHAPES:
        run, flops = product(dtype, shape)
        best = max(best, flops / min(in_turn({"product": run}, rounds)["product"]))
    return best


def machine() -> dict:
    """What a reader must know to place the numbers."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    model = next((line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")), "")
    wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    return {
        "processor": model or platform.processor(),
        "cores": os.cpu_count(),
        "instructions": [name for name in wanted if f" {name}" in info],
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
    }
