"""The routed experts, forward and backward, by all of peers.py; none is timed before it passes parity.py."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch

from benchmarks import parity, peers
from benchmarks.results import row
from benchmarks.timing import gemm_peak, in_turn, ratio

SUITE = "layer"
WIDTHS, TOKENS, EXPERTS = (128, 256, 768, 1280), (1024, 8192, 65536), (16, 64)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
HIDDEN_MULTIPLE = 2  # of paper A's experts
ROUNDS = 5
DENSE = "dense FFN"
# Seconds that a pass may take at the measured peak: 16 experts with balanced loads, every other case.
LIMITS = {True: (0.08, 0.03), False: (0.6, 0.07)}
# Candidates that pad every expert to the largest load, and how many times the work they may make of it.
PADDING, PADDING_LIMIT = (peers.PADDED, peers.DEEPSPEED), 8.0
# What the target compares ours with: the faster of the two.
TARGET_PEERS = (peers.PADDED, peers.HF_EAGER)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A shape; `width` is the model's."""

    width: int
    tokens: int
    experts: int
    fan_out: str
    dtype: str

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"d {self.width}, {self.tokens:,} tokens, {self.experts} experts, {self.fan_out}, {self.dtype}"

    @property
    def flops(self) -> float:
        """What parity.Problem.flops will say."""
        return 12.0 * self.tokens * self.width * HIDDEN_MULTIPLE * self.width

    @property
    def is_main(self) -> bool:
        """Whether it may take longer than the others: few experts, balanced loads."""
        return self.experts == EXPERTS[0] and self.fan_out == parity.FAN_OUTS[0]

    def limit(self, quick: bool) -> float:
        """Seconds at the peak beyond which the case is left out."""
        main, others = LIMITS[quick]
        return main if self.is_main else others


def run(quick: bool) -> list[dict]:
    """Rows of all cases that fit, and rows with `left_out` for everything that does not."""
    candidates, missing = peers.available()
    rows = [_left_out("all", name, reason) for name, reason in missing.items()]
    for dtype in DTYPES:
        peak = gemm_peak(DTYPES[dtype], rounds=2 if quick else 8)
        shapes = itertools.product(WIDTHS, TOKENS, EXPERTS, parity.FAN_OUTS)
        cases = [Case(width=w, tokens=n, experts=e, fan_out=f, dtype=dtype) for w, n, e, f in shapes]
        too_long = [case for case in cases if case.flops / peak > case.limit(quick)]
        rows += _too_long(too_long, quick)
        for case in cases:
            if case not in too_long:
                rows += measure(case, candidates, peak)
                print(summary(case, rows), flush=True)
    return rows


def measure(case: Case, builders: dict[str, Callable[[parity.Problem], peers.Candidate]], peak: float) -> list[dict]:
    """Rows of one case: candidates that pass the gate are timed in turn, the others say why they are not."""
    hidden = HIDDEN_MULTIPLE * case.width
    dtype = DTYPES[case.dtype]
    problem = parity.make_problem(case.width, hidden, case.tokens, case.experts, case.fan_out, dtype)
    expected = parity.double_loop(problem)
    rows, errors, passed = [], {}, {}
    padded = case.experts * problem.counts.max().item() / case.tokens
    for name, build in builders.items():
        if name in PADDING and padded > PADDING_LIMIT:
            rows.append(_left_out(case.name, name, f"padding makes {padded:.3g} times the work"))
            continue
        candidate = build(problem)
        try:
            errors[name] = parity.check(candidate.results(), expected, dtype)
        except parity.ParityError as error:
            rows.append(_left_out(case.name, name, f"failed parity, not timed: {error}"))
        else:
            passed[name] = candidate.step
    del expected
    seconds = in_turn(passed | {DENSE: peers.Dense(problem).step}, ROUNDS)
    shape = asdict(case) | {"flops": problem.flops, "peak": peak}
    for name, times in seconds.items():
        measured = row(SUITE, case.name, name, times, error=errors.get(name), **shape)
        measured["peak_share"] = problem.flops / measured["seconds"] / peak
        rows.append(measured | _compared(name, seconds))
    return rows


def summary(case: Case, rows: list[dict]) -> str:
    """A line for the terminal: the fastest candidate that passed."""
    timed = [r for r in rows if r["case"] == case.name and "seconds" in r and r["candidate"] != DENSE]
    if not timed:
        return f"{case.name}: no candidate passed parity"
    best = min(timed, key=lambda r: r["seconds"])
    return f"{case.name}: {best['candidate']} {best['seconds'] * 1e3:.3g} ms, {best['peak_share']:.0%} of the peak"


def _compared(name: str, seconds: dict[str, list[float]]) -> dict:
    """`ratio` and `against`: ours against the faster of the target's peers, everything else against ours."""
    if name == peers.OURS:
        others = {peer: seconds[peer] for peer in TARGET_PEERS if peer in seconds}
        against = min(others, key=lambda peer: sorted(others[peer])[len(others[peer]) // 2], default=None)
    else:
        against = peers.OURS if peers.OURS in seconds else None
    return {} if against is None else {"ratio": ratio(seconds[against], seconds[name]), "against": against}


def _too_long(cases: list[Case], quick: bool) -> list[dict]:
    """A row for the main cases and one for the others, with the shapes that a pass takes too long for."""
    rows = []
    for is_main, which in ((True, f"{EXPERTS[0]} experts, {parity.FAN_OUTS[0]}"), (False, "all other loads")):
        here = [case for case in cases if case.is_main == is_main]
        if here:
            shapes = dict.fromkeys(f"d {case.width} x {case.tokens:,}" for case in here)
            reason = f"more than {here[0].limit(quick):g} s a pass at the peak: {', '.join(shapes)}"
            rows.append(_left_out(f"{here[0].dtype}, {which}", "all", reason))
    return rows


def _left_out(case: str, candidate: str, reason: str) -> dict:
    return {"suite": SUITE, "case": case, "candidate": candidate, "left_out": reason}
