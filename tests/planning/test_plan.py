from __future__ import annotations

import dataclasses
import io
import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from moe_replication.cli import app
from moe_replication.config import load_project
from moe_replication.config.needs import data_path
from moe_replication.config.probe import probe_settings
from moe_replication.config.safety import safety_settings
from moe_replication.config.schema import validate
from moe_replication.errors import BadInput
from moe_replication.files import write_json
from moe_replication.planning.plan import make_plan, plan_json
from moe_replication.planning.recipes import difference_table, recipe_differences
from moe_replication.planning.stages import DOMAIN_DOCUMENT_TOKENS, probe_flops
from moe_replication.planning.text import plan_text

ROOT = Path(__file__).parents[2]
SCALES = sorted(path.stem for path in (ROOT / "config/scales").glob("*.yaml"))


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A copy of config/ and the schemas that a test may edit, without prepared data."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    shutil.copytree(ROOT / "workflow/schemas", tmp_path / "workflow/schemas")
    return tmp_path


def printed(content: object) -> str:
    written = io.StringIO()
    Console(width=120, highlight=False, markup=False, file=written).print(content)
    return written.getvalue()


@pytest.mark.parametrize("scale", SCALES)
def test_json_of_every_scale_follows_its_schema(scale):
    project = load_project(ROOT, {"scale": scale})
    document = json.loads(json.dumps(plan_json(make_plan(project))))
    validate(document, ROOT / "workflow/schemas/plan.schema.yaml", scale)
    assert len(document["conditions"]) == sum(len(paper.conditions) for paper in project.papers.values())
    assert document["totals"]["runs"] == len(project.runs)


def test_command_prints_json_for_other_tools(monkeypatch):
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(
        app, ["plan", "--scale", "paper", "--format", "json", "--set", "conditions=[et,d20-et]"]
    )
    document = json.loads(result.output)
    validate(document, ROOT / "workflow/schemas/plan.schema.yaml", "output")
    counts = [(row["condition"], row["parameters_total"], row["parameters_active"]) for row in document["conditions"]]
    assert counts == [("et", 575_016_960, 185_733_120), ("d20-et", 2_429_153_280, 561_377_280)]


def test_command_prints_text_and_differences(monkeypatch):
    monkeypatch.chdir(ROOT)
    text = CliRunner().invoke(app, ["plan", "--scale", "smoke", "--set", "conditions=[et]"]).output
    assert "Total: 1 conditions, 1 runs" in text
    difference = CliRunner().invoke(app, ["plan", "--diff", "paper", "released", "--format", "json"])
    keys = {"key", "value_a", "origin_a", "value_b", "origin_b"}
    assert all(row.keys() == keys for row in json.loads(difference.output))


def test_horizon_of_paper_a(paper_rows):
    """10B tokens in steps of 524,288, twenty evaluations; d20 11.2B."""
    horizon = paper_rows["et"].horizon
    assert (horizon.steps, horizon.samples, horizon.evaluations) == (19_073, 19_073 * 524_288, 20)
    assert not horizon.estimated
    assert paper_rows["d20-et"].horizon.steps == 21_362


def test_horizon_of_paper_b(paper_rows):
    """391 batches of 128 an epoch of CIFAR; a hundred epochs with an evaluation each. WikiText's size is estimated."""
    horizon = paper_rows["v1"].horizon
    assert (horizon.steps, horizon.evaluations, horizon.evaluation_samples) == (39_100, 100, 10_000)
    assert not horizon.estimated
    words = paper_rows["l1"].horizon
    assert words.steps == 20 * ((2_400_000 - 1) // 256 // 64)
    assert words.estimated


def test_flops_of_a_run_by_hand(paper_rows):
    """d12: 24 d^2 FLOPs a layer and token, 4 T d for the scores, 2 V d for the head; three passes."""
    row = paper_rows["dense"]
    forward = 12 * (24 * 768**2 + 4 * 2048 * 768) + 2 * 65536 * 768
    tokens = 19_073 * 524_288
    assert row.forward.total == forward
    assert row.flops.model == 3 * forward * tokens
    assert row.flops.recomputation == 0
    assert row.flops.evaluation == 20 * 10_485_760 * forward
    square, tall = 5 * 3 * 2 * 768**3, 4 * 2 * 768**2 * 3072 + 14 * 2 * 768**3
    # Eight slices of 18 d^2 of the 144: four of the seven cuts go through a tall matrix, which two processes then take.
    assert row.flops.newton_schulz == 19_073 * (12 * (4 * square + 2 * tall) + 4 * tall)
    assert row.flops.total == sum(dataclasses.asdict(row.flops).values())


def test_flops_a_token_are_counted_and_shown(paper_plan, paper_rows):
    """All of a run by token trained on: above 6 a weight that multiplies; scores and evaluation count too."""
    row = paper_rows["dense"]
    assert row.flops_per_token == row.flops.total / (19_073 * 524_288)
    assert 6 < row.flops_per_token / (row.parameters_active - 65536 * 768) < 8
    written = {entry["condition"]: entry["flops_per_token"] for entry in plan_json(paper_plan)["conditions"]}
    assert written == {name: row.flops_per_token for name, row in paper_rows.items()}
    line = next(line for line in printed(plan_text(paper_plan)).splitlines() if line.startswith("d20-et "))
    shown = f"{paper_rows['d20-et'].flops_per_token:.2e}".replace("e+", "e")
    assert shown in line.split()


def test_moe_costs_its_routers_more(paper_rows):
    assert paper_rows["et"].forward.total - paper_rows["dense"].forward.total == 11 * 2 * 16 * 768


def test_hours_money_and_disk(paper_plan, paper_rows):
    device, row = paper_plan.assumptions.device, paper_rows["et"]
    assert device.name == "b200"
    assert row.device_hours == pytest.approx(row.flops.total / (0.3 * 2250e12) / 3600)
    # The released recipe runs in float32, which has no tensor cores.
    released = paper_rows["et-released"]
    assert released.precision == "float32"
    assert released.device_hours == pytest.approx(released.flops.total / (0.3 * 75e12) / 3600)
    assert row.snapshot_bytes == 4 * 2 * 575_016_960
    totals = plan_json(paper_plan)["totals"]
    train, probe, scan = totals["stages"]
    assert train["gpu_hours"] == pytest.approx(3 * sum(r.device_hours for r in paper_plan.conditions))
    assert totals["gpu_hours"] == pytest.approx(train["gpu_hours"] + probe["gpu_hours"] + scan["gpu_hours"])
    assert train["jobs"] == totals["runs"]
    assert totals["dollars"] == pytest.approx(totals["gpu_hours"] * 5.5)
    # Tokens of d12 and d20, the image sets and WikiText are there once, whatever the number of conditions.
    data = 2 * (10_000_000_000 + 11_200_000_000 + 2 * 10_485_760) / 1e9
    assert data < paper_plan.data_bytes / 1e9 < data + 5


def test_prepared_data_has_the_last_word(scratch):
    overrides = {"scale": "demo", "conditions": ["l1", "v1"]}
    project = load_project(scratch, overrides)
    before = {row.condition: row.horizon for row in make_plan(project).conditions}
    config = project.papers["expert-ecology"].conditions
    tokens = scratch / data_path("data", config["l1"].config)
    splits = {"train": {"tokens": 64 * 16 * 5 + 1}, "validation": {"tokens": 640}}
    write_json(tokens / "manifest.json", {"splits": splits})
    images = scratch / data_path("data", config["v1"].config)
    write_json(images / "manifest.json", {"counts": {"train": 256, "test": 7}})
    after = {row.condition: row.horizon for row in make_plan(project).conditions}
    epochs = {name: config[name].config.training.epochs for name in config}
    assert (after["l1"].steps, after["l1"].evaluation_samples) == (5 * epochs["l1"], 640)
    assert (after["v1"].steps, after["v1"].evaluation_samples) == (2 * epochs["v1"], 7)
    assert before["v1"].steps == 12 * epochs["v1"]


def test_a_part_of_the_images_at_fewer_pixels_costs_less(scratch):
    project = load_project(scratch, {"scale": "cifar", "conditions": ["v1"]})
    (row,) = make_plan(project).conditions
    # 10,000 images in 79 batches of 128, 12 epochs; the census takes 2,000
    assert (row.horizon.steps, row.horizon.samples) == (948, 948 * 128)
    assert (row.horizon.evaluations, row.horizon.evaluation_samples) == (12, 2000)
    path = scratch / "config/scales/cifar.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("pooling: 2", "pooling: 1"), encoding="utf-8")
    (whole,) = make_plan(load_project(scratch, {"scale": "cifar", "conditions": ["v1"]})).conditions
    assert whole.forward.encoder == pytest.approx(4 * row.forward.encoder, rel=0.01)


@pytest.mark.parametrize("scale", SCALES)
def test_text_fits_120_columns(scale):
    plan = make_plan(load_project(ROOT, {"scale": scale}))
    text = printed(plan_text(plan))
    assert max(map(len, text.splitlines())) <= 120
    assert "…" not in text
    for row in plan.conditions:
        assert f"\n{row.condition} " in text
    assert f"Total: {len(plan.conditions)} conditions, {sum(row.runs for row in plan.conditions)} runs" in text
    assert plan.assumptions.device.origins["utilization"] in " ".join(text.split())


def test_probe_of_a_run_by_hand(paper_project, paper_rows):
    """1M validation tokens, 328 documents, four snapshots on 65,536 tokens; expert choice reads the first again."""
    settings = probe_settings(ROOT, "paper")
    conditions = paper_project.papers["expert-threshold"].conditions
    read = 1_048_576 + 328 * DOMAIN_DOCUMENT_TOKENS
    for name, more in (("dense", 0), ("et", 4 * 65_536), ("ec-batch", 4 * 65_536 + 1_048_576)):
        forward = paper_rows[name].forward
        assert probe_flops(conditions[name].config, forward, 0, settings) == forward.total * (read + more)
    images, forward = paper_project.papers["expert-ecology"].conditions["v1"].config, paper_rows["v1"].forward
    assert probe_flops(images, forward, 10, settings) == 10 * (forward.total + 5 * forward.experts)


def test_too_large_a_model_is_named(scratch):
    path = scratch / "config/planning.yaml"
    path.write_text(path.read_text().replace("memory_gb: {value: 180,", "memory_gb: {value: 45,"))
    text = printed(plan_text(make_plan(load_project(scratch, {"scale": "paper", "papers": ["expert-threshold"]}))))
    assert "d20-et; lower training.micro_batch_size" in " ".join(text.split())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{paper: b200, ", "{paper: b300, ", "scales.paper = 'b300' is no device"),
        ("with_gpu: h100", "with_gpu: a100", "with_gpu = 'a100' is no device"),
        ("utilization: {value: 0.3", "utilization: {value: -1", "devices.b200.utilization"),
        ("with_gpu: h100", "with_gpu: h100\nprice: 3", "unknown key price"),
        ("  cifar10: &cifar", "  cifar: &cifar", "images has no entry for data.set = 'cifar10'"),
    ],
)
def test_wrong_assumptions_are_named(scratch, old, new, message):
    path = scratch / "config/planning.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    scale = "gpu" if "with_gpu" in message else "paper"
    with pytest.raises(BadInput, match=r"planning\.yaml") as error:
        make_plan(load_project(scratch, {"scale": scale}))
    assert message in str(error.value)


def test_recipe_difference_names_values_and_sources(paper_project):
    rows = {row.key: row for row in recipe_differences(paper_project, "paper", "released")}
    assert (rows["optimizer.betas"].value_a, rows["optimizer.betas"].value_b) == ([0.9, 0.95], [0.8, 0.95])
    assert (rows["routing.comparison"].value_a, rows["routing.comparison"].value_b) == ("greater", "greater_equal")
    assert all(row.origin_a and row.origin_b and row.value_a != row.value_b for row in rows.values())
    text = printed(difference_table(rows.values(), "paper", "released"))
    assert max(map(len, text.splitlines())) <= 120
    assert all(key in text for key in rows)
    assert recipe_differences(paper_project, "released", "released") == []


@pytest.mark.parametrize(
    ("paper", "message"),
    [("expert-threshold", "known: paper, released"), ("expert-ecology", "choose expert-threshold")],
)
def test_unknown_recipes_are_named(paper, message):
    project = load_project(ROOT, {"scale": "paper", "papers": [paper]})
    with pytest.raises(BadInput, match=message):
        recipe_differences(project, "paper", "relesed")


def test_disk_holds_the_checkpoints_that_safety_keeps_and_one_being_written(paper_plan):
    assert paper_plan.checkpoints_kept == safety_settings(ROOT).checkpoints_kept
    more = dataclasses.replace(paper_plan, checkpoints_kept=paper_plan.checkpoints_kept + 1)
    largest = max(row.memory.checkpoint for row in paper_plan.conditions)
    assert more.disk_bytes() - paper_plan.disk_bytes() == largest
    assert dataclasses.replace(paper_plan, checkpoints_kept=0).disk_bytes() > largest
