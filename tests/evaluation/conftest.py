"""Small models, texts and a finished run that the tests of this folder share."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from moe_replication.config import load_project
from moe_replication.config.needs import data_path
from moe_replication.config.probe import domains_folder
from moe_replication.config.project import Project, Run
from moe_replication.config.run import RunConfig
from moe_replication.data.shard_writer import write_manifest, write_split
from moe_replication.data.tokenizer import load_tokenizer, train_tokenizer
from moe_replication.files import write_json
from moe_replication.models.gpt import GPT

ROOT = Path(__file__).parents[2]
WORDS = np.random.default_rng(0).choice(list("abcdefghij"), size=(300, 3))


@pytest.fixture
def random_gpt() -> Callable[..., GPT]:
    """random_gpt(config, seed): a GPT whose head and projections are not zero, with cut-offs that split tokens."""
    return _random_gpt


@pytest.fixture
def deep(smoke: dict[str, RunConfig]) -> Callable[..., RunConfig]:
    """deep(condition, **routing): smoke settings with two MoE layers and changed routing."""

    def make(condition: str, **routing: object) -> RunConfig:
        config = smoke[condition]
        return dataclasses.replace(
            config,
            model=dataclasses.replace(config.model, layers=3),
            routing=dataclasses.replace(config.routing, **routing),
        )

    return make


@pytest.fixture(scope="session")
def _data(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with settings, token shards and domains, and no run."""
    root = tmp_path_factory.mktemp("probed")
    for part in ("config", "workflow/schemas"):
        shutil.copytree(ROOT / part, root / part)
    project = load_project(root, {"scale": "smoke", "papers": ["expert-threshold"]})
    config = project.runs[0].config
    documents = _documents("validation", 60, 30)
    folder = root / data_path(project.data_folder, config)
    train_tokenizer(folder / "tokenizer.json", [documents], vocab_size=config.data.vocab_size, sample_megabytes=1)
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    splits = {
        split: write_split(folder, split, [documents], tokenizer, max_tokens=limit, shard_tokens=10_000)
        for split, limit in (("train", 2000), ("validation", 1500))
    }
    write_manifest(folder, splits, vocab_size=config.data.vocab_size)
    domains = root / domains_folder(project.data_folder, project.runs[0])
    domains.mkdir(parents=True)
    table = pl.concat([_documents("code", 10, 20), _documents("math", 10, 20)])
    table.write_parquet(domains / "documents.parquet")
    write_json(domains / "manifest.json", {})
    return project


@pytest.fixture
def finished_run(_data: Project, tmp_path: Path) -> Callable[[str], tuple[Project, Run]]:
    """finished_run(condition): a project and a run of it with a record and two snapshots of random weights."""

    def make(condition: str) -> tuple[Project, Run]:
        root = tmp_path / "project"
        if not root.exists():
            shutil.copytree(_data.root, root)
        project = dataclasses.replace(_data, root=root)
        run = project.run("expert-threshold", condition, 0)
        key = f"key-{condition}"
        record = {
            "run": {"run_key": key}, "title": condition, "settings": {"rule": run.config.routing.rule},
            "config_version": project.condition(run).version,
        }  # fmt: skip
        write_json(root / run.folder / "run.json", record)
        folder = root / "results/smoke/checkpoints" / key / "snapshots"
        folder.mkdir(parents=True)
        for step in (5, 10):
            model = _random_gpt(run.config, step)
            routing = [layer.state.state_dict() for layer in model.moe_layers()]
            saved = {"model": model.state_dict(), "task": {"routing": routing, "silence": None}}
            torch.save(saved, folder / f"step-{step:08d}.pt")
        return project, run

    return make


def _random_gpt(config: RunConfig, seed: int = 0) -> GPT:
    model = GPT(config)
    model.initialize(seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.3, generator=generator)
        for layer in model.moe_layers():
            layer.state.cutoff_E = torch.rand(config.moe.experts, generator=generator) + 0.8
    return model.eval()


def _documents(domain: str, count: int, words: int) -> pl.DataFrame:
    generator = np.random.default_rng([ord(letter) for letter in domain])
    texts = [" ".join("".join(WORDS[n]) for n in generator.integers(300, size=words)) for _ in range(count)]
    names = [f"{domain}-{n}" for n in range(count)]
    return pl.DataFrame({"doc_id": names, "domain": domain, "package": "numpy", "text": texts})
