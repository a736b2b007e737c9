"""Every way to compute routed experts agrees with the double loop, and one that does not is never timed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks import layer, parity, peers

CANDIDATES, _ = peers.available()
# (width, hidden, tokens, experts): odd counts, one token, more experts than tokens, sizes that fit no vector register.
SIZES = {"odd": (24, 40, 37, 5), "one": (8, 16, 1, 4), "few": (16, 32, 3, 8), "odd width": (17, 33, 29, 3)}
# torch's grouped_mm takes rows of a multiple of 16 bytes only.
SIZED = [(name, size) for name in CANDIDATES for size in SIZES if name != peers.HF_GROUPED or size != "odd width"]
CASE = layer.Case(width=16, tokens=40, experts=4, fan_out="skewed", dtype="float32")
PEAK = 1e9


class Wrong(peers.Loop):
    """Forgets the gates."""

    def forward(self) -> Tensor:
        return super().forward() / self.gates[:, None].detach()


class WrongGradient(peers.Loop):
    """Right output, but no gradient reaches the second expert's weights."""

    def forward(self) -> Tensor:
        self.up_EHD.register_hook(lambda gradient: gradient * (torch.arange(len(gradient)) != 1)[:, None, None])
        return super().forward()


@pytest.mark.parametrize("dtype", parity.TOLERANCE, ids=str)
@pytest.mark.parametrize("fan_out", parity.FAN_OUTS)
@pytest.mark.parametrize(("name", "size"), SIZED)
def test_candidates_agree_with_the_loop_over_experts_and_tokens(name, size, fan_out, dtype):
    problem = parity.make_problem(*SIZES[size], fan_out, dtype)
    results = CANDIDATES[name](problem).results()
    assert parity.check(results, parity.double_loop(problem, block=1), dtype) < parity.TOLERANCE[dtype]


@pytest.mark.parametrize("fan_out", parity.FAN_OUTS)
def test_blocks_of_the_double_loop_change_nothing(fan_out):
    problem = parity.make_problem(24, 40, 37, 5, fan_out, torch.float32)
    assert parity.check(parity.double_loop(problem), parity.double_loop(problem, block=1), torch.float32) < 1e-14


def test_the_double_loop_has_autograds_gradients():
    problem = parity.make_problem(12, 20, 30, 4, "balanced", torch.float32)
    leaves = [t.double().requires_grad_() for t in (problem.x_ND, problem.gate_N, problem.up_EHD, problem.down_EDH)]
    x_ND, gate_N, up_EHD, down_EDH = leaves
    hidden_NH = torch.einsum("nd,nhd->nh", x_ND, up_EHD[problem.expert_N]).relu().square()
    y_ND = gate_N[:, None] * torch.einsum("nh,ndh->nd", hidden_NH, down_EDH[problem.expert_N])
    y_ND.backward(problem.gradient_ND.double())
    names = ("gradient of x", "gradient of gates", "gradient of up", "gradient of down")
    found = {"output": y_ND.detach()} | {name: leaf.grad for name, leaf in zip(names, leaves, strict=True)}
    assert parity.check(found, parity.double_loop(problem), torch.float32) < 1e-13


@pytest.mark.parametrize(("wrong", "named"), [(Wrong, "output"), (WrongGradient, "gradient of up")])
def test_a_wrong_candidate_gets_no_time(wrong, named):
    rows = layer.measure(CASE, {peers.LOOP: peers.Loop, "wrong": wrong}, PEAK)
    mine = [row for row in rows if row["candidate"] == "wrong"]
    assert len(mine) == 1
    assert "seconds" not in mine[0]
    assert f"failed parity, not timed: {named} deviates" in mine[0]["left_out"]
    assert "wrong" not in layer.summary(CASE, rows)


def test_nothing_is_named_the_fastest_when_nobody_passes():
    assert layer.summary(CASE, layer.measure(CASE, {"wrong": Wrong}, PEAK)).endswith("no candidate passed parity")


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_no_number_fails_parity(value):
    problem = parity.make_problem(8, 16, 10, 4, "balanced", torch.float32)
    expected = parity.double_loop(problem)
    results = expected | {"output": torch.full_like(expected["output"], value)}
    with pytest.raises(parity.ParityError, match="output deviates"):
        parity.check(results, expected, torch.float32)


def test_rows_say_flops_share_of_the_peak_and_ratio():
    rows = {row["candidate"]: row for row in layer.measure(CASE, CANDIDATES, PEAK)}
    ours, padded = rows[peers.OURS], rows[peers.PADDED]
    assert ours["flops"] == CASE.flops == 12 * 40 * 16 * 32
    assert ours["peak_share"] == pytest.approx(ours["flops"] / ours["seconds"] / PEAK)
    assert ours["against"] in layer.TARGET_PEERS
    assert padded["against"] == peers.OURS
    assert ours["rounds"] >= 5
    assert rows[layer.DENSE]["error"] is None


@pytest.mark.parametrize(("fan_out", "loads"), [("balanced", [16] * 4), ("skewed", [26, 13, 13, 12])])
def test_fan_outs_have_the_loads_they_are_named_for(fan_out, loads):
    assert torch.bincount(parity.routed(fan_out, 64, 4), minlength=4).tolist() == loads


def test_a_quarter_of_the_experts_is_empty():
    counts = torch.bincount(parity.routed("empty", 64, 8), minlength=8)
    assert (counts == 0).sum() == 2


def test_too_much_padding_is_left_out(monkeypatch):
    monkeypatch.setattr(layer, "PADDING_LIMIT", 1.2)
    rows = layer.measure(CASE, CANDIDATES, PEAK)
    assert any(row["candidate"] == peers.PADDED and "1.6 times the work" in row["left_out"] for row in rows)
