"""What a language run under paper B's random warm-up draws and counts, on made tokens."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from moe_replication.config.run import RunConfig
from moe_replication.data.manifest import file_entry
from moe_replication.data.shard_writer import write_manifest
from moe_replication.training.language import LanguageTask

BATCH = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tokens")
    tokens = np.random.default_rng(0).integers(0, 512, 12_000, dtype=np.uint16)
    splits = {}
    for split, part in (("train", tokens[:10_000]), ("validation", tokens[10_000:])):
        part.tofile(folder / f"{split}-00000.bin")
        entry = file_entry(folder / f"{split}-00000.bin")
        splits[split] = {"tokens": len(part), "shards": [entry], "index": entry}
    write_manifest(folder, splits, vocab_size=512)
    return folder


def _task(folder: Path, config: RunConfig, *, micro: int = BATCH) -> LanguageTask:
    training = dataclasses.replace(config.training, batch_size=BATCH, micro_batch_size=micro, epochs=2)
    ecology = dataclasses.replace(config.ecology, random_warmup_fraction=1.0)
    task = LanguageTask(dataclasses.replace(config, training=training, ecology=ecology), folder, seed=3)
    task.use(task.model, torch.device("cpu"))
    return task


def _masks(task: LanguageTask, step: int) -> torch.Tensor:
    """Who is chosen for every token of the step, (L, N, E)."""
    parts = [task.loss(batch, step).routing for batch in task.micro_batches(step)]
    return torch.cat([torch.stack([one.selection.mask_NE for one in routing]) for routing in parts], dim=1)


def test_random_warm_up_differs_between_layers_and_steps_not_with_the_passes(smoke, folder):
    whole, split = _task(folder, smoke["l1"]), _task(folder, smoke["l1"], micro=4)
    masks = _masks(whole, 0)
    assert len(masks) == 2
    assert not torch.equal(masks[0], masks[1])
    # two draws of 2 of 16 experts agree in an expert with probability 1/8
    assert (masks[0] & masks[1]).sum() / masks[0].sum() == pytest.approx(1 / 8, abs=0.03)
    assert torch.equal(_masks(split, 0), masks)
    assert not torch.equal(_masks(whole, 1), masks)


def test_silent_experts_are_counted_by_layer(smoke, folder):
    config = smoke["l1"]
    task = _task(folder, dataclasses.replace(config, census=dataclasses.replace(config.census, silent_batches=1)))
    for _ in range(2):
        task._assigned = torch.tensor([[0] * 3 + [1] * 13, [1] * 14 + [0] * 2])
        task.end_step()
    row, _ = task.evaluate(2)
    assert row["silent_experts"] == 3
    assert row["zero_expert_share"] == 0
