"""Damaged token shards, image sets and half-made preparations: refused when a run opens them, or started over."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzzing import Ledger, changes, damaged, damages, drawn, fuzz_bytes, fuzz_json, outcome
from moe_replication.config.needs import parse_token_name
from moe_replication.config.project import parse_run_path
from moe_replication.data.images import ImageSet, write_image_set
from moe_replication.data.prepare import prepare_domains, prepare_images, prepare_tokens
from moe_replication.data.shard_writer import write_manifest, write_split
from moe_replication.data.shards import TokenShards
from moe_replication.data.token_progress import read_progress
from moe_replication.data.tokenizer import load_tokenizer, train_tokenizer
from moe_replication.files import sha256_file

LETTERS = np.random.default_rng(0).choice(list("abcdefghij"), size=(60, 30, 4))
DOCUMENTS = pl.DataFrame(
    {
        "doc_id": [f"{n:03d}" for n in range(60)],
        "package": ["numpy"] * 60,
        "domain": ["prose"] * 60,
        "text": [f"text {n}: " + " ".join(map("".join, LETTERS[n])) for n in range(60)],
    }
)


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """A small set of token shards."""
    folder = tmp_path / "tokens"
    train_tokenizer(folder / "tokenizer.json", [DOCUMENTS], vocab_size=512, sample_megabytes=1)
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    splits = {
        split: write_split(folder, split, [DOCUMENTS], tokenizer, max_tokens=None, shard_tokens=500)
        for split in ("train", "validation")
    }
    write_manifest(folder, splits, vocab_size=512)
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A small image set."""
    folder, draw = tmp_path / "images", np.random.default_rng(0)
    parts = [(draw.integers(0, 256, (n, 4, 4, 3)).astype(np.uint8), np.arange(n) % 3) for n in (9, 6)]
    write_image_set(folder, "tiny", *parts, classes=3, source="test")
    return folder


def open_tokens(folder: Path) -> None:
    """All that a run and its probe read."""
    shards = TokenShards.open(folder, verify=True)
    for split in ("train", "validation"):
        assert np.asarray(shards.split(split)).max() < shards.vocab_size
        assert set(shards.documents(split).columns) >= {"doc_id", "start", "tokens"}


def open_images(folder: Path) -> None:
    found = ImageSet.open(folder, verify=True)
    assert len(found.train_images) == len(found.train_labels)
    assert found.train_labels.max() < found.classes


def test_a_changed_manifest_of_shards_is_refused_or_harmless(tokens):
    fuzz_json(tokens / "manifest.json", lambda: outcome(lambda: open_tokens(tokens), tokens), 120).expect(50)


def test_a_changed_manifest_of_images_is_refused_or_harmless(images):
    fuzz_json(images / "manifest.json", lambda: outcome(lambda: open_images(images), images), 120).expect(50)


@pytest.mark.parametrize("name", ["train-00000.bin", "documents-train.parquet", "tokenizer.json"])
def test_other_bytes_in_a_token_set_are_refused(tokens, name):
    read = open_tokens if name != "tokenizer.json" else lambda folder: load_tokenizer(folder / name)
    ledger = fuzz_bytes(tokens / name, lambda: outcome(lambda: read(tokens), tokens), 40)
    ledger.expect(15 if name == "tokenizer.json" else len(ledger.outcomes))


@pytest.mark.parametrize("name", ["train_images.npy", "train_labels.npy"])
def test_other_bytes_in_an_image_set_are_refused(images, name):
    """Also where the manifest was changed to suit them."""
    path, ledger = images / name, Ledger()
    content, manifest = path.read_bytes(), json.loads((images / "manifest.json").read_text(encoding="utf-8"))

    @drawn(60)
    @given(damages(), st.booleans())
    def check(damage, suited):
        path.write_bytes(damaged(content, damage))
        entry = manifest["files"][path.stem] | ({"bytes": path.stat().st_size} if suited else {})
        changed = manifest | {"files": manifest["files"] | {path.stem: entry}}
        (images / "manifest.json").write_text(json.dumps(changed), encoding="utf-8")
        ledger.note((damage, suited), outcome(lambda: open_images(images), images))
        if suited:
            outcome(lambda: ImageSet.open(images), images)

    check()
    ledger.expect(len(ledger.outcomes))


def test_changed_progress_starts_over_and_reads_nothing_outside(tokens, tmp_path):
    """Whatever progress.json says, a split is taken over only with files of the folder that match their hashes."""
    manifest = json.loads((tokens / "manifest.json").read_text(encoding="utf-8"))
    whole = {"shard": manifest["splits"]["train"]["shards"][0], "index": manifest["splits"]["train"]["index"],
             "documents": 3, "document_tokens": 400, "text_bytes": 900}  # fmt: skip
    made_from = {"settings": {"vocab_size": 512}}
    tree = {"format": 1, "made_from": made_from, "splits": {"validation": manifest["splits"]["validation"]},
            "tokenizer": {"sha256": sha256_file(tokens / "tokenizer.json")}, "whole": {"train": [whole]}}  # fmt: skip
    ledger = Ledger()

    @drawn(100)
    @given(changes(tree))
    def check(change):
        (tokens / "progress.json").write_text(json.dumps(change.apply(tree)), encoding="utf-8")
        progress, line = read_progress(tokens, made_from)
        ledger.note(change, line if "starting over" in line else None)
        for item in progress.whole.get("train", []):
            assert (tokens / item.shard["file"]).parent == tokens

    check()
    ledger.expect(12)


NAMES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["../../evil", "/etc", "embedded/../../x", ".", "", "..", "a\nb", "1" * 5000, "-", "\x00"]),
)


def test_no_name_of_a_set_leads_out_of_the_data_folder(tmp_path):
    """`prepare` with a foreign name removes and writes nothing, though it clears up after interrupted calls."""
    ledger = Ledger()
    (tmp_path / "data/tokens").mkdir(parents=True)
    (tmp_path / "manifest.json").write_text("somebody's", encoding="utf-8")

    def prepare(name: str) -> None:
        data = tmp_path / "data"
        source, settings = parse_token_name(f"{name}-512-2-1000-1000")
        prepare_tokens(data / "tokens" / name, source, settings, data / "corpora/embedded", {})

    @drawn(60)
    @given(NAMES)
    def check(name):
        ledger.note(("tokens", name), outcome(lambda: prepare(name), tmp_path))
        ledger.note(("images", name), outcome(lambda: prepare_images(tmp_path / "data/x", name, {}), tmp_path))
        domains = lambda: prepare_domains(tmp_path / "data/x", name, {}, tmp_path, {})  # noqa: E731
        ledger.note(("domains", name), outcome(domains, tmp_path))

    check()
    ledger.expect(len(ledger.outcomes))


@pytest.mark.parametrize(
    "name",
    [
        "embedded-512-1.2.3-1-1",
        "embedded-512--1-1",
        f"embedded-{'9' * 5000}-1-1-1",
        "../../x-512-2-1-1",
        "a b-9-2-1-1",
    ],
)
def test_odd_names_of_tokens_are_refused(name, tmp_path):
    assert "expected SET-VOCABULARY" in outcome(lambda: parse_token_name(name), tmp_path)


@pytest.mark.parametrize(
    "path",
    ["results/demo/runs/a/b/seed-" + "9" * 5000, "results/demo/runs/a/b/seed-٣", "results/demo/runs/a/b/seed-01",
     "results/demo/runs/a/b/seed-1\n", "results/demo/runs/a/b/seed--1"],
)  # fmt: skip
def test_odd_seeds_of_a_path_are_refused(path, tmp_path):
    assert "expected results/SCALE" in outcome(lambda: parse_run_path(path), tmp_path)
