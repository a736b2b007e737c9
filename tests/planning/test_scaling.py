"""Collectives by hand, and what a simulated step says of weak and strong scaling."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from moe_replication.cli import app
from moe_replication.config import load_project
from moe_replication.errors import BadInput
from moe_replication.planning.layouts import layout_memories
from moe_replication.planning.network import Network
from moe_replication.planning.parameters import meta_model
from moe_replication.planning.scaling import GPUS, scaling
from moe_replication.planning.what_if import scaling_answers, with_layout

ROOT = Path(__file__).parents[2]
NETWORK = Network(
    gpus_per_node=8, link_gb_s=100, card_gb_s=10, share=0.5, link_microseconds=2, card_microseconds=5,
    memory_gb_s=1000, origins={},
)  # fmt: skip


@pytest.fixture(scope="module")
def rows(paper_project, paper_plan):
    """rows(condition, weak, **network): scaling of a condition at the paper's scale."""

    def make(condition: str, weak: bool, **network):
        config = paper_project.papers["expert-threshold"].conditions[condition].config
        assumptions = paper_plan.assumptions
        assumptions = replace(assumptions, network=replace(assumptions.network, **network))
        return {row.gpus: row for row in scaling(meta_model(config, None), config, assumptions, weak)}

    return make


def test_reductions_by_hand():
    """In a node 50 GB/s reach a GPU; between nodes eight cards of 5 GB/s do."""
    assert NETWORK.all_reduce(1e9, 1) == NETWORK.all_gather(1e9, 1) == NETWORK.all_to_all(1e9, 1) == 0
    assert NETWORK.all_gather(1e9, 8) == pytest.approx(7 / 8 / 50 + 3 * 2e-6)
    assert NETWORK.all_reduce(1e9, 8) == pytest.approx(2 * (7 / 8 / 50 + 3 * 2e-6))
    assert NETWORK.all_gather(1e9, 32) == pytest.approx(31 / 32 / 40 + (3 * 2 + 2 * 5) * 1e-6)


def test_tokens_that_go_to_single_gpus_have_one_card():
    assert NETWORK.all_to_all(1e9, 8) == pytest.approx(7 / 8 / 50 + 3 * 2e-6)
    assert NETWORK.all_to_all(1e9, 32) == pytest.approx(24 / 32 / 5 + (3 * 2 + 2 * 5) * 1e-6)


def test_a_step_of_the_dense_model_by_hand(rows, paper_rows):
    """d12 on eight GPUs: 32 sequences of 2,048 each; gradients and weights of 2 bytes over 720 GB/s."""
    step = rows("dense", weak=True)[8].step
    row = paper_rows["dense"]
    flops = 3 * row.forward.total * 32 * 2048
    assert step.compute == pytest.approx(flops / (0.3 * 2250e12))
    gathered = 7 / 8 * 2 * row.parameters_total / 720e9 + 3 * 5e-6
    assert (step.weights, step.gradients) == (pytest.approx(gathered), pytest.approx(2 * gathered))
    assert step.routing == pytest.approx(3 * 2 * (7 / 8 * 1024 / 720e9 + 3 * 5e-6))
    assert step.total == pytest.approx(sum(asdict(step).values()))


def test_weak_scaling_keeps_the_work_of_a_gpu(rows):
    found = rows("d20-dense", weak=True)
    assert list(found) == list(GPUS)
    assert len({row.step.compute for row in found.values()}) == 1
    assert all(row.busy == gpus and row.batch == 32 * gpus for gpus, row in found.items())


def test_strong_scaling_ends_at_one_sequence_a_gpu(rows):
    found = rows("dense", weak=False)
    assert {row.batch for row in found.values()} == {256}
    assert [found[gpus].busy for gpus in (128, 256, 512, 1024)] == [128, 256, 256, 256]
    assert found[1024].samples_per_second == found[256].samples_per_second
    assert found[1024].efficiency == pytest.approx(found[256].efficiency / 4)
    speeds = [row.samples_per_second for row in found.values()]
    assert speeds == sorted(speeds)


def test_pool_of_the_batch_grows_with_the_gpus_and_a_sequence_does_not(rows):
    whole, sequence = rows("ec-batch", weak=True), rows("ec-sequence", weak=True)
    assert whole[1024].step.routing > 50 * whole[8].step.routing
    assert sequence[1024].step.routing < 0.02 * whole[1024].step.routing
    assert sequence[1024].step.compute == whole[1024].step.compute


def test_muon_stops_scaling_at_the_largest_tensor(rows):
    found = rows("d20-et", weak=True)
    assert found[8].step.muon < 0.2 * found[1].step.muon
    assert found[1024].step.muon == found[512].step.muon > 0.04 * found[1].step.muon


def test_perfect_links_scale_perfectly(rows):
    perfect = {
        "link_gb_s": 1e12,
        "card_gb_s": 1e12,
        "memory_gb_s": 1e12,
        "link_microseconds": 0,
        "card_microseconds": 0,
    }
    row = rows("dense-released", weak=True, **perfect)[1024]
    assert row.efficiency == pytest.approx(1, rel=1e-3)


def test_replicated_experts_beat_an_exchange_of_tokens_between_nodes(rows):
    """At the paper's batch of a GPU; with few tokens a GPU sending them is the cheaper way."""
    weak, strong = rows("d20-et", weak=True), rows("d20-et", weak=False)
    assert all(weak[gpus].experts < weak[gpus].exchange for gpus in GPUS[2:])
    assert strong[256].experts > strong[256].exchange
    assert rows("dense", weak=True)[64].experts == rows("dense", weak=True)[64].exchange == 0


def test_largest_model_fits_80_gb_at_stages_1_and_2(paper_project, paper_plan):
    config = paper_project.papers["expert-threshold"].conditions["d20-et"].config
    found = layout_memories(meta_model(config, None), config, paper_plan.assumptions, (0, 0))
    sizes = {(e.layout.zero_stage, e.layout.checkpointed, e.layout.offloaded): e.memory.total for e in found}
    assert len(sizes) == 10
    assert all(size < 80e9 for (stage, _, _), size in sizes.items() if stage)
    assert sizes[0, False, False] > 80e9 > sizes[0, True, False]
    assert all(sizes[stage, True, off] < sizes[stage, False, off] for stage, _, off in sizes)
    assert all(sizes[stage, again, True] < sizes[stage, again, False] for stage in (1, 2) for again in (False, True))


def test_other_stage_and_micro_batch_change_the_plan(paper_project):
    with pytest.raises(BadInput, match=r"condition dense: training\.batch_size = 256 must be a multiple"):
        with_layout(paper_project, None, 48)
    with pytest.raises(BadInput, match=r"condition dense-released: optimizer\.gradient_clipping"):
        with_layout(paper_project, 2, 8)
    one = load_project(ROOT, {"scale": "paper", "conditions": ["d20-et"]})
    changed = with_layout(one, 2, 8).papers["expert-threshold"].conditions["d20-et"].config
    assert (changed.engine.zero_stage, changed.training.micro_batch_size, changed.accumulation) == (2, 8, 4)
    assert (
        with_layout(paper_project, 0, None).papers["expert-ecology"].conditions["v1"].config.engine.precision
        == "float32"
    )


def test_a_device_without_links_is_refused():
    with pytest.raises(BadInput, match="networks has no entry for cpu-thread"):
        scaling_answers(load_project(ROOT, {"scale": "demo"}))


@pytest.mark.parametrize("question", ["--layouts", "--scaling"])
def test_command_answers_for_people_and_tools(monkeypatch, question):
    monkeypatch.chdir(ROOT)
    arguments = ["plan", "--scale", "paper", question, "--set", "conditions=[tc,d20-tc-aux,d20-et]"]
    text = CliRunner().invoke(app, arguments).output
    assert max(map(len, text.splitlines())) <= 120
    assert "…" not in text
    assert "2,429M" in text
    answers = json.loads(CliRunner().invoke(app, [*arguments, "--format", "json"]).output)
    if question == "--layouts":
        assert [(a["condition"], a["like"]) for a in answers] == [("tc", []), ("d20-tc-aux", ["d20-et"])]
        assert {layout["zero_stage"] for layout in answers[0]["layouts"]} == {0, 1, 2}
    else:
        assert [row["gpus"] for row in answers[-1]["weak"]] == list(GPUS)
        assert all(row["memory"] > 0 for answer in answers for row in answer["strong"])


def test_origins_of_every_link(paper_plan):
    names = {field.name for field in dataclasses.fields(Network)} - {"origins"}
    assert paper_plan.assumptions.network.origins.keys() == names
