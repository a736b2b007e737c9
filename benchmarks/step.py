"""The language training step of the cpu scale: by part, MoE's FLOP utilisation beside dense, and ours beside plain.

Logging and diagnostics are what `log_every` costs, the check of every loss and gradient, and its hooks; evaluation and
checkpoints come a few times a run and are left out. `flops` are those of forward and backward passes, as the planner
counts them; `utilisation` is the share of the matrix-product peak, and `with_muon` counts Muon's iterations too.
"""

from __future__ import annotations

import statistics

from benchmarks import results, timing
from benchmarks.clock import part_rows
from benchmarks.plain import PlainGPT
from benchmarks.plain_training import PlainTraining
from benchmarks.trainers import Timed, deterministic, timed_training
from moe_replication.planning.flops import forward_flops, orthogonalization_flops

PARTS = ("dense", "tc-aux", "ec-batch", "et")
COMPARED = ("dense", "tc", "tc-aux", "ec-batch", "et")
MUONS = ("torch.optim.Muon", "float32 Muon")
# Past expert threshold's warm-up, which is expert choice; its average gets what that would have left in it.
AT = 0.25
WARM_UP = 8


def run(quick: bool) -> list[dict]:
    """Rows of every part of PARTS, then of ours against the plain programme for COMPARED."""
    deterministic()
    conditions = ("dense", "tc-aux", "et") if quick else COMPARED
    trainings = {condition: _settled(condition) for condition in conditions}
    rounds = 2 if quick else 5
    measured = [name for name in PARTS if name in trainings]
    rows = _by_part({name: trainings[name] for name in measured}, rounds)
    for condition in ("tc-aux",) if quick else COMPARED:
        rows += _against_plain(condition, trainings[condition], rounds, quick)
    return rows


def _settled(condition: str) -> Timed:
    """A training whose cut-offs are where a warm-up would have brought them."""
    timed = timed_training(condition, AT)
    task, beta = timed.trainer.task, timed.trainer.beta
    for step in range(WARM_UP):
        timed.trainer._step(step)
    for layer in task.moe_layers():
        layer.state.cutoff_E = layer.state.cutoff_E / (1 - beta**WARM_UP)
    timed.clock.take()
    return timed


def _by_part(trainings: dict[str, Timed], rounds: int) -> list[dict]:
    """Each round takes the steps from one log line to the next."""
    counts = {name: timed.trainer.run.config.training.log_every for name, timed in trainings.items()}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in trainings}
    for _ in range(rounds):
        for name, timed in trainings.items():
            timed.step(counts[name])
            found[name].append(timed.clock.take())
    rows, whole = [], {}
    for name, timed in trainings.items():
        parts = part_rows("step", name, found[name], counts[name], dtype=_dtype(timed))
        rows += parts
        whole[name] = [sum(part.values()) / counts[name] for part in found[name]]
        _add_utilisation(parts[0], timed)
    for row in rows:
        if row["candidate"] == "step" and row["case"] != "dense":
            dense = next(other for other in rows if (other["case"], other["candidate"]) == ("dense", "step"))
            faster = timing.ratio(whole["dense"], whole[row["case"]])
            row |= {"against": "dense, at equal FLOPs", "ratio": faster * row["flops"] / dense["flops"]}
            row["ratio_with_muon"] = faster * row["flops_with_muon"] / dense["flops_with_muon"]
    return rows


def _add_utilisation(row: dict, timed: Timed) -> None:
    config, task = timed.trainer.run.config, timed.trainer.task
    flops = 3 * forward_flops(task.model, config, (0, 0)).total * task.samples_per_step
    tensors = [parameter for parameter in task.model.parameters() if getattr(parameter, "use_muon", False)]
    (muon,) = orthogonalization_flops(tensors, config.engine.zero_stage, 1)
    peak = timing.gemm_peak(timed.trainer.engine.dtype)
    row |= {"flops": flops, "peak_share": flops / row["seconds"] / peak, "flops_with_muon": flops + muon}
    row["peak_share_with_muon"] = (flops + muon) / row["seconds"] / peak


def _against_plain(condition: str, timed: Timed, rounds: int, quick: bool) -> list[dict]:
    """Tokens a second of ours and of the plain programme with each Muon, in turn."""
    steps = 2 if quick else timed.trainer.run.config.training.log_every
    candidates = {"ours": lambda: timed.step(steps)}
    for muon in MUONS:
        plain = _plain(timed, muon)
        candidates[f"plain, {muon}"] = lambda plain=plain: plain.step(steps)
    seconds = timing.in_turn(candidates, rounds)
    timed.clock.take()
    tokens, rows = timed.trainer.task.samples_per_step, []
    fastest = min(list(candidates)[1:], key=lambda name: statistics.median(seconds[name]))
    for name, found in seconds.items():
        other = fastest if name == "ours" else "ours"
        row = results.row("step", f"{condition} against plain", name, [value / steps for value in found])
        row |= {"tokens_per_second": tokens / row["seconds"], "dtype": _dtype(timed) if name == "ours" else "float32"}
        rows.append(row | {"against": other, "ratio": timing.ratio(seconds[other], found)})
    return rows


def _plain(timed: Timed, muon: str) -> PlainTraining:
    """The plain programme where our training stands."""
    trainer = timed.trainer
    config, task = trainer.run.config, trainer.task
    model = PlainGPT(config)
    model.take(task.model)
    return PlainTraining(model, config, task.batches, task.steps, timed.at, trainer.beta, muon)


def _dtype(timed: Timed) -> str:
    return str(timed.trainer.engine.dtype).removeprefix("torch.")
