"""Interrupted `prepare tokens`: what is kept, what is done again, and that the result is the same."""

from __future__ import annotations

import json
import shutil

import numpy as np
import polars as pl
import pytest

from moe_replication.data import prepare
from moe_replication.data.prepare import prepare_tokens
from moe_replication.data.shards import TokenShards
from moe_replication.data.sources import TextSource
from moe_replication.data.token_progress import TokenProgress
from moe_replication.errors import BadInput

WORDS = np.random.default_rng(2).choice(list("abcdefghij"), size=(600, 14, 3))
# Limits that end within a shard.
TOKENS = {
    "vocab_size": 512,
    "tokenizer_megabytes": 0.006,
    "train_tokens": 4500,
    "validation_tokens": 1300,
    "shard_tokens": 1000,
}


def document(number: int, split: str) -> str:
    return f"{split} {number} " + " ".join(map("".join, WORDS[number]))


class Source:
    """A text set whose passes may break off, and that counts them."""

    def __init__(self):
        self.passes = []
        self.break_off = {}
        self.first = 0
        self.facts = {"name": "test", "order": "given"}

    def batches(self, split):
        self.passes.append(split)
        for start in range(0, 600, 20):
            rows = range(start + self.first, min(start + 20, 600))
            if start >= self.break_off.get(split, 600):
                raise BadInput("data.roots.test: reading stopped (connection reset); run the same command again")
            yield pl.DataFrame(
                {
                    "doc_id": [f"{split[0]}{number:03d}" for number in rows],
                    "domain": "web",
                    "package": "test",
                    "text": [document(number, split) for number in rows],
                }
            )

    def text(self):
        return TextSource(facts=self.facts, batches=self.batches)


@pytest.fixture
def source(monkeypatch):
    source = Source()
    monkeypatch.setattr(prepare, "_text_source", lambda *_: source.text())
    return source


def run(folder, settings=TOKENS, workers=1):
    return prepare_tokens(folder, "test", settings, folder, {}, workers)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def expected(source, tmp_path):
    """Files of an uninterrupted run."""
    run(tmp_path / "expected")
    source.passes.clear()
    return contents(tmp_path / "expected")


@pytest.fixture
def broken(source, expected, tmp_path, capsys):
    """A folder whose preparation broke off in the train split, two shards and a bit after its start."""
    source.break_off = {"train": 120}
    with pytest.raises(BadInput, match="reading stopped"):
        run(tmp_path / "out")
    source.break_off = {}
    source.passes.clear()
    capsys.readouterr()
    return tmp_path / "out"


def whole_shards(folder):
    found = json.loads((folder / "progress.json").read_text())
    return {split: len(items) for split, items in found["whole"].items()}


def test_files_of_a_finished_folder(expected):
    train, validation = [f"train-{n:05d}.bin" for n in range(5)], [f"validation-{n:05d}.bin" for n in range(2)]
    others = ["documents-train.parquet", "documents-validation.parquet", "manifest.json", "tokenizer.json"]
    assert sorted(expected) == sorted([*train, *validation, *others])


def test_goes_on_after_the_last_whole_shard_with_the_same_result(source, expected, broken, capsys):
    count = whole_shards(broken)["train"]
    assert 2 <= count <= 4
    assert not (broken / "manifest.json").exists()
    before = {path.name: path.stat().st_mtime_ns for path in broken.glob("train-*.bin")}
    # As a kill in the middle of a write leaves it.
    (broken / f".train-{count:05d}.bin.123.partial").write_bytes(b"half")
    run(broken)
    assert contents(broken) == expected
    assert all((broken / name).stat().st_mtime_ns == time for name, time in before.items())
    # The tokenizer is not trained again.
    assert source.passes == ["train", "validation"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"tokens: going on after an interruption; whole shards: train {count}"
    assert lines[1].startswith("tokens: train 4,500, validation 1,300; ")


def test_a_finished_split_is_not_read_again(source, expected, tmp_path):
    source.break_off = {"validation": 20}
    with pytest.raises(BadInput, match="reading stopped"):
        run(tmp_path / "out")
    source.break_off = {}
    source.passes.clear()
    run(tmp_path / "out")
    assert source.passes == ["validation"]
    assert contents(tmp_path / "out") == expected


@pytest.mark.slow
def test_interrupted_again_and_again_with_several_processes(source, expected, broken):
    source.break_off = {"train": 140}
    with pytest.raises(BadInput, match="reading stopped"):
        run(broken, workers=2)
    source.break_off = {}
    run(broken, workers=2)
    assert contents(broken) == expected


def test_interrupted_between_the_last_shard_and_the_manifest(source, expected, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(prepare, "write_manifest", stop)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "out")
    source.passes.clear()
    run(tmp_path / "out")
    assert source.passes == []
    assert contents(tmp_path / "out") == expected


@pytest.mark.parametrize("name", ["train-00001.bin", "documents-train-00001.parquet"])
@pytest.mark.parametrize("damage", ["alter", "cut", "delete"])
def test_a_damaged_file_takes_back_to_the_last_whole_shard(expected, broken, capsys, name, damage):
    path, count = broken / name, whole_shards(broken)["train"]
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:] if damage == "alter" else content[:-2])
    if damage == "delete":
        path.unlink()
    run(broken)
    assert contents(broken) == expected
    line = f"tokens: going on after an interruption; whole shards: train 1 of {count}"
    assert capsys.readouterr().out.splitlines()[0] == line


def test_a_damaged_last_shard_of_a_finished_split(source, expected, tmp_path, capsys):
    source.break_off = {"validation": 20}
    with pytest.raises(BadInput, match="reading stopped"):
        run(tmp_path / "out")
    source.break_off = {}
    (tmp_path / "out" / "train-00004.bin").write_bytes(b"")
    capsys.readouterr()
    run(tmp_path / "out")
    assert contents(tmp_path / "out") == expected
    assert "whole shards: train 4\n" in capsys.readouterr().out


def test_other_settings_start_over(source, expected, broken, tmp_path, capsys):
    settings = {**TOKENS, "train_tokens": 3500}
    run(broken, settings)
    line = capsys.readouterr().out.splitlines()[0]
    assert line == f"tokens: {broken / 'progress.json'} was made from other settings: starting over"
    run(tmp_path / "fresh", settings)
    assert contents(broken) == contents(tmp_path / "fresh")


def test_another_source_or_tokenizer_library_starts_over(source, expected, broken, capsys, monkeypatch):
    copy = broken.with_name("copy")
    shutil.copytree(broken, copy)
    monkeypatch.setattr(prepare.tokenizers, "__version__", "0.0.1")
    run(broken)
    assert "was made from other code: starting over" in capsys.readouterr().out
    assert contents(broken) == expected
    source.facts = {"name": "test", "order": "another"}
    run(copy)
    assert "was made from other source and code: starting over" in capsys.readouterr().out


def test_other_documents_start_over(source, expected, broken, tmp_path, capsys):
    source.first = 1
    run(broken)
    line = "tokens: test gives other documents than before the interruption: starting over"
    assert line in capsys.readouterr().out.splitlines()
    run(tmp_path / "fresh")
    assert contents(broken) == contents(tmp_path / "fresh")


@pytest.mark.parametrize("name", ["progress.json", "tokenizer.json"])
def test_a_damaged_record_or_tokenizer_starts_over(source, expected, broken, capsys, name):
    (broken / name).write_text("{")
    run(broken)
    assert capsys.readouterr().out.splitlines()[0] == f"tokens: {broken / name} is damaged: starting over"
    assert source.passes == ["train", "train", "validation"]
    assert contents(broken) == expected


def test_record_survives_a_round_trip(tmp_path):
    progress = TokenProgress(folder=tmp_path, made_from={"settings": {"share": 0.1, "limit": None}})
    progress.save()
    found = json.loads((tmp_path / "progress.json").read_text())
    assert found["made_from"] == progress.made_from
    progress.remove()
    assert list(tmp_path.iterdir()) == []


def test_manifest_states_sample_and_documents(source, expected, tmp_path):
    manifest = json.loads(expected["manifest.json"])
    tokenizer, splits = manifest["tokenizer"], manifest["splits"]
    assert manifest["settings"]["tokenizer_megabytes"] == 0.006
    assert 6000 <= tokenizer["sample_bytes"] < 6100
    assert tokenizer["sample_documents"] < splits["train"]["documents"]
    assert len({tokenizer["sample_doc_ids_sha256"], *(splits[name]["doc_ids_sha256"] for name in splits)}) == 3
    shards = TokenShards.open(tmp_path / "expected", verify=True)
    assert shards.documents("validation")["doc_id"].to_list()[:2] == ["v000", "v001"]


def test_workers_below_one(source, tmp_path):
    with pytest.raises(BadInput, match="workers: 0 must be at least 1"):
        run(tmp_path, workers=0)
