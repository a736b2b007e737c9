"""A project with small data of its own, for tests that train through the command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from moe_replication.config import load_project
from moe_replication.config.needs import data_path
from moe_replication.data.images import write_image_set
from moe_replication.data.shard_writer import write_manifest, write_split
from moe_replication.data.tokenizer import load_tokenizer, train_tokenizer

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A project whose smoke runs are long enough to be killed, on small data made here."""
    root = tmp_path_factory.mktemp("resume")
    for part in ("config", "workflow"):
        shutil.copytree(ROOT / part, root / part)
    shutil.copy(ROOT / "requirements.lock", root)
    path = root / "config/scales/smoke.yaml"
    scale = yaml.safe_load(path.read_text(encoding="utf-8"))
    language = scale["papers"]["expert-threshold"]["set"]["training"]
    language |= {"tokens": 81920, "evaluate_every": 20, "checkpoint_every": 7}
    vision = scale["papers"]["expert-ecology"]["task_set"]["vision"]["training"]
    vision |= {"epochs": 30, "batch_size": 64, "micro_batch_size": 64}
    path.write_text(yaml.safe_dump(scale), encoding="utf-8")
    runs = {run.condition: run for run in load_project(root, {"scale": "smoke"}).runs}
    _write_tokens(root / data_path("data", runs["et"].config))
    _write_images(root / data_path("data", runs["v5-both"].config))
    return root


def _write_tokens(folder: Path) -> None:
    generator = np.random.default_rng(0)
    words = ["".join(generator.choice(list("abcdefgh"), 5)) for _ in range(500)]
    texts = [" ".join(generator.choice(words, 400)) for _ in range(120)]
    frame = pl.DataFrame(
        {"doc_id": [f"{i:04d}" for i in range(120)], "text": texts, "domain": "prose", "package": "made"}
    )
    trained = train_tokenizer(folder / "tokenizer.json", [frame], vocab_size=512, sample_megabytes=0.2)
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    parts = {"train": frame.head(100), "validation": frame.tail(20)}
    splits = {
        name: write_split(folder, name, [part], tokenizer, max_tokens=None, shard_tokens=10**6)
        for name, part in parts.items()
    }
    write_manifest(folder, splits, vocab_size=512, tokenizer=trained)


def _write_images(folder: Path) -> None:
    generator = np.random.default_rng(0)
    splits = [
        (generator.integers(0, 255, (count, 8, 16, 1), dtype=np.uint8), generator.integers(0, 10, count))
        for count in (320, 64)
    ]
    write_image_set(folder, "digits-100", *splits, classes=100, source="random, for tests")
