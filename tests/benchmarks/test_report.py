"""Tables and figures of docs/performance.md from saved rows, and sizes that grow."""

from __future__ import annotations

import re

import pytest

from benchmarks import growth, layer, peers, pictures, report, results
from moe_replication.errors import BadInput

MACHINE = {
    "processor": "Made up", "cores": 2, "instructions": ["avx2"], "gpu": None, "torch": "2", "python": "3",
    "load_average": 0.25,
}  # fmt: skip
TIMES = [0.5, 0.25, 1.0]


def saved(rows: list[dict]) -> dict:
    return {"machine": MACHINE, "date": "2026-01-02", "rows": rows}


def layer_rows() -> list[dict]:
    case = layer.Case(width=128, tokens=1024, experts=16, fan_out="balanced", dtype="float32")
    shape = {"flops": 2e9, "peak": 8e9, "peak_share": 0.5, "width": 128, "tokens": 1024, "experts": 16}
    shape |= {"fan_out": "balanced", "dtype": "float32"}
    ours = results.row("layer", case.name, peers.OURS, TIMES, ratio=1.5, against=peers.PADDED, **shape)
    padded = results.row("layer", case.name, peers.PADDED, TIMES, ratio=0.5, against=peers.OURS, **shape)
    out = {"suite": "layer", "case": "all", "candidate": "ScatterMoE", "left_out": "run on CUDA only"}
    return [ours, padded, out]


def growth_rows(exponent: float) -> list[dict]:
    return [
        results.row("growth", f"tokens = {size}", "layer", [size**exponent], sweep="tokens", size=size, bytes=size)
        for size in (2, 4, 8)
    ]


def test_only_text_between_markers_changes():
    text = "a\n<!-- begin:x -->\nold\n<!-- end:x -->\nb\n<!-- begin:y -->\nkept\n<!-- end:y -->\n"
    filled = report.fill(text, {"x": r"new \1"})
    assert filled == text.replace("old", r"new \1")
    assert report.fill(filled, {"x": r"new \1"}) == filled


def test_a_suite_without_markers_is_named():
    with pytest.raises(BadInput, match="begin:z"):
        report.fill("text", {"z": "new"})


def test_every_suite_has_a_place_in_the_document():
    text = report.DOCUMENT.read_text(encoding="utf-8")
    assert sorted(re.findall(r"<!-- begin:(\w+) -->", text)) == sorted(re.findall(r"<!-- end:(\w+) -->", text))
    report.fill(text, dict.fromkeys(("layer", "step", "vision", "tokens", "analysis", "workflow", "growth"), ""))


def test_layer_section_shows_shares_multiples_and_what_is_left_out():
    text = report.section("layer", saved(layer_rows()))
    assert "Made up (avx2), 2 cores" in text
    assert "peak in float32 8 GFLOP/s" in text
    assert "| 2 | 500 ms | 50% | 1.50 x padded bmm | 2.00 |" in text
    assert "- ScatterMoE: run on CUDA only" in text


def test_growth_section_states_fitted_exponents():
    text = report.section("growth", saved(growth_rows(2.0)))
    assert "| 2 to 8 | 4 s to 64 s | 2.00 | 1 |" in text
    assert "| 1.00 |" in text


def test_other_suites_get_the_columns_that_they_fill():
    rows = [results.row("step", "head | loss", "ours", TIMES), results.row("step", "head", "plain", TIMES, ratio=0.5)]
    text = report.section("step", saved(rows))
    assert "| Case | Candidate | Time | Fastest to slowest | Rounds | Ratio |" in text
    assert r"| head \| loss | ours | 500 ms | 250 ms to 1 s | 3 |  |" in text


@pytest.mark.parametrize(("seconds", "shown"), [(None, ""), (12.345, "12.3 s"), (0.00456, "4.56 ms"), (3e-6, "3 us")])
def test_times_are_told_in_the_unit_that_fits(seconds, shown):
    assert report.shown_time(seconds) == shown


@pytest.mark.parametrize("draw", [pictures.draw_layer, pictures.draw_growth])
def test_figures_are_published_with_their_numbers_behind(draw, tmp_path):
    rows = layer_rows() if draw is pictures.draw_layer else growth_rows(1.0)
    pictures.write(draw, rows, "performance-x", tmp_path / "drafts", tmp_path / "images")
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["performance-x.png"]
    assert (tmp_path / "drafts/performance-x.csv").read_text(encoding="utf-8").startswith("case,candidate,seconds")


def test_nothing_measured_is_said_in_place_of_a_figure(tmp_path):
    pictures.write(pictures.draw_layer, [], "performance-x", tmp_path / "drafts", tmp_path / "images")
    assert (tmp_path / "images/performance-x.png").exists()


@pytest.mark.parametrize(("sweep", "size"), [("tokens", 64), ("experts", 4), ("width", 32), ("sequence", 64)])
def test_passes_of_every_sweep_run(sweep, size, monkeypatch):
    monkeypatch.setattr(growth, "LAYER", {"tokens": 64, "experts": 4, "width": 32})
    monkeypatch.setattr(growth, "SEQUENCE_TOKENS", 128)
    run = growth.one_pass(sweep, size)
    run()
    memory = growth.peak_bytes(run)
    assert memory is None or memory >= 0


def test_two_ranks_give_a_time_for_every_round():
    seconds, _ = growth.on_ranks(2)
    assert len(seconds) == growth.ROUNDS
    assert min(seconds) > 0
