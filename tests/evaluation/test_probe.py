from __future__ import annotations

import dataclasses
import math

import polars as pl
import pytest
import torch
from typer.testing import CliRunner

from moe_replication.cli import app
from moe_replication.config.figures import PROBE_TABLES
from moe_replication.config.fingerprint import training_code_version
from moe_replication.config.probe import METRICS_FILE, probe_files, probe_folder, probe_settings
from moe_replication.data.shards import TokenShards
from moe_replication.errors import BadInput
from moe_replication.evaluation.checkpoints import causal_context, load_language_model, snapshots
from moe_replication.evaluation.documents import validation_text
from moe_replication.evaluation.probe import probe_in_turn
from moe_replication.files import read_json, write_json
from moe_replication.statistics.probe_tables import SCHEMAS

ROUTING_TABLES = set(SCHEMAS) - {"documents"}


@pytest.fixture
def probed(finished_run):
    """probed(condition): tables and metrics of a probed run."""

    def make(condition):
        project, run = finished_run(condition)
        settings = dataclasses.replace(probe_settings(project.root, "smoke"), validation_tokens=1200)
        probe_in_turn(project, [run], settings)
        folder = project.root / probe_folder(run)
        tables = {name: pl.read_parquet(folder / f"{name}.parquet") for name in SCHEMAS}
        return project, run, tables, read_json(folder / METRICS_FILE)

    return make


@pytest.mark.parametrize("condition", ["tc", "ec-sequence", "ec-batch", "et"])
def test_a_routed_run_fills_every_table(probed, condition):
    *_, tables, metrics = probed(condition)
    for name, table in tables.items():
        assert dict(table.schema) == SCHEMAS[name]
        assert table.height > 0, name
        floats = table.select(pl.selectors.float()).to_numpy()
        assert not (floats == math.inf).any()
    modes = {"causal", "training"} if condition.startswith("ec") else {"causal"}
    assert set(tables["fanout"]["mode"]) == modes
    assert set(tables["documents"]["domain"]) == {"validation", "code", "math"}
    assert tables["cutoffs"]["cutoff"].is_null().all() == (condition == "tc")
    assert set(tables["consistency"]["step_a"]) == {5}
    assert tables["consistency"]["fraction_a"][0] == 0.5
    names = {
        "val_loss_documents", "val_loss_documents_ci_low", "fanout_first_position", "fanout_loss_slope",
        "zero_expert_share_code", "specialization_code_math", "specialization_code_validation",
        "consistency_weighted_jaccard", "consistency_joint_jsd_last", "shift_load_worst_prefill_16",
        "shift_load_worst_decode_16", "loss_math",
    }  # fmt: skip
    assert all(math.isfinite(metrics[name]) for name in names)
    if condition == "tc":
        assert metrics["fanout_first_position"] == metrics["fanout_mean"] == 1.0
        assert metrics["zero_expert_share_code"] == metrics["fanout_loss_slope"] == 0.0
    if condition.startswith("ec"):
        assert metrics["fanout_mean_training"] == pytest.approx(1.0)


def test_a_fallback_expert_leaves_no_token_without_one(probed):
    *_, tables, metrics = probed("et-fallback")
    assert {metrics[f"zero_expert_share_{domain}"] for domain in ("validation", "code", "math")} == {0.0}
    assert tables["token_map"].drop_nulls("layer")["fanout"].min() == 1.0


@pytest.mark.parametrize("condition", ["et-normalized", "ec-no-shared", "tc-loss-free", "tc-aux-concat"])
def test_variants_are_probed(probed, condition):
    *_, tables, metrics = probed(condition)
    assert all(table.height for table in tables.values())
    assert metrics["shift_load_worst_decode_1"] <= (8.0 if condition == "ec-no-shared" else 16.0)


def test_a_dense_run_has_losses_and_empty_tables(probed):
    *_, tables, metrics = probed("dense")
    assert all(tables[name].is_empty() and dict(tables[name].schema) == SCHEMAS[name] for name in ROUTING_TABLES)
    assert set(metrics) == {
        "val_loss_documents", "val_loss_documents_ci_low", "val_loss_documents_ci_high", "loss_code", "loss_math",
    }  # fmt: skip


def test_losses_are_those_of_the_last_snapshot(probed):
    project, run, tables, metrics = probed("et")
    model = load_language_model(run, snapshots(project.root, run)[-1].path)
    (folder,) = (project.root / "data/tokens").iterdir()
    ids = torch.from_numpy(validation_text(TokenShards.open(folder), 1200).ids)
    losses = []
    with torch.no_grad():
        for first in range(0, 1200, 64):
            last = min(first + 64, 1200)
            hidden = model(ids[first:last][None], causal_context(last - first)).hidden_BTD
            losses.append(model.token_losses(hidden, ids[first + 1 : last + 1][None]))
    expected = torch.cat(losses).double().mean().item()
    assert metrics["val_loss_documents"] == pytest.approx(expected, abs=1e-5)
    row = tables["documents"].row(0, named=True)
    assert row["ci_low"] < row["loss"] < row["ci_high"]
    assert row["tokens"] == 1200


def test_tables_agree_with_each_other(probed):
    *_, tables, metrics = probed("et")
    mean = metrics["fanout_mean"]
    for axis in ("position", "loss"):
        part = tables["fanout"].filter(pl.col("axis") == axis, pl.col("layer").is_null())
        assert (part["fanout"] * part["tokens"]).sum() / part["tokens"].sum() == pytest.approx(mean)
        assert part["tokens"].sum() == 1200
    ratio = tables["specialization"].filter(pl.col("domain") == "validation")
    assert ratio["ratio"].sum() / ratio["layer"].n_unique() == pytest.approx(mean)
    assert tables["shift"].select("domain", "batch", "batch_tokens").n_unique() == tables["shift"].height == 3 * 2 * 3
    shift = tables["shift"].filter(pl.col("batch_tokens") == 1)
    for domain, share, usage in shift.select("domain", "zero_expert_share", "usage_mean").iter_rows():
        assert share == pytest.approx(metrics[f"zero_expert_share_{domain}"])
        if domain == "validation":
            assert usage * 16 == pytest.approx(mean)
    gates = tables["histograms"].filter(pl.col("quantity") == "gate")
    assert gates["count"].sum() == round(mean * 1200) * ratio["layer"].n_unique()


def test_probing_twice_writes_the_same_bytes(finished_run):
    project, run = finished_run("et")
    settings, folder = probe_settings(project.root, "smoke"), project.root / probe_folder(run)
    contents = []
    for _ in range(2):
        probe_in_turn(project, [run], settings)
        contents.append([(folder / file).read_bytes() for file in probe_files(PROBE_TABLES)])
    assert contents[0] == contents[1]
    assert sorted(path.name for path in folder.iterdir()) == sorted(probe_files(PROBE_TABLES))


def test_several_runs_have_one_line_each(finished_run, capsys):
    project, first = finished_run("dense")
    _, second = finished_run("et")
    probe_in_turn(project, [first, second], probe_settings(project.root, "smoke"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["probed dense seed 0", "probed et seed 0"]
    assert "fan-out" in lines[1]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("data/domains/embedded/documents.parquet", "documents.parquet: no such file"),
        ("results/smoke/checkpoints/key-et/snapshots", "holds no weights"),
        ("results/smoke/runs/expert-threshold/et/seed-0/run.json", "run.json: no such file"),
    ],
)
def test_what_is_missing_is_named_before_anything_is_written(finished_run, path, message):
    project, dense = finished_run("dense")
    _, et = finished_run("et")
    (project.root / path).rename(project.root / "elsewhere")
    with pytest.raises(BadInput, match=message):
        probe_in_turn(project, [dense, et], probe_settings(project.root, "smoke"))
    assert not (project.root / "results/smoke/probes").exists()


def test_a_pool_larger_than_the_sample_is_refused(finished_run):
    project, run = finished_run("ec-batch")
    settings = dataclasses.replace(probe_settings(project.root, "smoke"), validation_tokens=1000)
    with pytest.raises(BadInput, match="1000 validation tokens do not fill a pool of 1024 tokens"):
        probe_in_turn(project, [run], settings)


def invoke(*arguments):
    return CliRunner().invoke(app, [*arguments, "--set", "conditions=[et]", "--set", "papers=[expert-threshold]"])


def test_commands_probe_and_collect(finished_run, monkeypatch):
    project, run = finished_run("et")
    monkeypatch.chdir(project.root)
    write_json(run.folder / "run.json", read_json(run.folder / "run.json") | {"training_code": training_code_version()})
    result = invoke("probe", str(run.folder))
    assert result.exit_code == 0, result.output
    assert result.output.startswith("probed et seed 0: validation ")
    result = invoke("collect-probes", "--scale", "smoke")
    assert result.output == "collected the probes of 1 runs into results/smoke\n"
    metrics = pl.read_parquet("results/smoke/probe-metrics.parquet")
    assert metrics["val_loss_documents"][0] == read_json(probe_folder(run) / METRICS_FILE)["val_loss_documents"]


def test_command_refuses_a_record_of_other_code(finished_run, monkeypatch):
    project, run = finished_run("et")
    monkeypatch.chdir(project.root)
    result = invoke("probe", str(run.folder))
    assert isinstance(result.exception, BadInput)
    assert "other settings or training code" in str(result.exception)


def test_command_refuses_runs_of_the_other_paper():
    result = CliRunner().invoke(app, ["probe", "results/smoke/runs/expert-ecology/l1/seed-0"])
    assert isinstance(result.exception, BadInput)
    assert "only language models without ecology losses" in str(result.exception)
