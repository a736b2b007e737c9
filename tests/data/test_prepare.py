from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from PIL import Image

from moe_replication.cli import prepare as commands
from moe_replication.data.images import ImageSet
from moe_replication.data.prepare import prepare_corpus, prepare_images, prepare_tokens
from moe_replication.data.shards import TokenShards
from moe_replication.errors import BadInput

REPOSITORY = Path(__file__).parents[2]
CORPUS = {
    "packages": ["rich", "numpy.ma", "yaml"],
    "minimum_characters": 100,
    "maximum_characters": 8000,
    "validation_percent": 20,
    "origin": {"packages": "test"},
}
TOKENS = {"vocab_size": 512, "tokenizer_megabytes": 0.1, "train_tokens": 5000, "validation_tokens": 2000}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "corpus"
    prepare_corpus(folder, CORPUS)
    return folder


def test_text_from_source_to_shards(tmp_path, corpus, capsys):
    manifest = prepare_tokens(tmp_path, "embedded", TOKENS, corpus, {})
    shards = TokenShards.open(tmp_path, verify=True)
    assert (len(shards.split("train")), len(shards.split("validation"))) == (5000, 2000)
    assert shards.vocab_size == 512
    assert manifest["settings"]["train_tokens"] == 5000
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("tokenizer: 512 entries from 0.1 MB in ")
    assert lines[1].startswith("tokens: train 5,000, validation 2,000; ")
    assert len(lines) == 2


def test_prose_is_a_set_of_its_own_from_the_same_corpus(tmp_path, corpus):
    domains, sources = {}, {}
    for name in ("embedded", "embedded-prose"):
        manifest = prepare_tokens(tmp_path / name, name, TOKENS, corpus, {})
        domains[name] = set(TokenShards.open(tmp_path / name).documents("train")["domain"])
        sources[name] = manifest["source"]
    assert domains == {"embedded": {"prose", "code"}, "embedded-prose": {"prose"}}
    assert sources["embedded-prose"]["name"] == "embedded-prose"
    assert sources["embedded"]["corpus_sha256"] == sources["embedded-prose"]["corpus_sha256"]


def test_unknown_text_set(tmp_path, corpus):
    with pytest.raises(BadInput, match=r"data\.set: 'pile' is no text set; choose one of embedded, .*fineweb-edu"):
        prepare_tokens(tmp_path, "pile", TOKENS, corpus, {})


def test_same_inputs_give_the_same_fingerprint(tmp_path, corpus):
    fingerprints = set()
    for name in "ab":
        prepare_tokens(tmp_path / name, "embedded", TOKENS, corpus, {})
        fingerprints.add(TokenShards.open(tmp_path / name).sha256)
    assert len(fingerprints) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({**TOKENS, "vocabulary": 1}, "data.vocabulary: unknown key"),
        ({"vocab_size": 512}, "data.tokenizer_megabytes: missing"),
        ({**TOKENS, "train_tokens": 0}, "data.train_tokens: 0"),
    ],
)
def test_bad_token_settings(tmp_path, corpus, settings, message):
    with pytest.raises(BadInput, match=message):
        prepare_tokens(tmp_path, "embedded", settings, corpus, {})
    assert not (tmp_path / "manifest.json").exists()


def test_images_by_name(tmp_path, capsys):
    for name, classes in (("digits-10", 10), ("digits-100", 100), ("digits-200", 200)):
        prepare_images(tmp_path / name, name, {}, train_pairs=200, test_pairs=200)
        images = ImageSet.open(tmp_path / name, verify=True)
        assert (images.name, images.classes) == (name, classes)
    assert "images: digits-200, 200 train, 200 test, 200 classes in " in capsys.readouterr().out
    with pytest.raises(BadInput, match=r"data\.set: 'mnist' is no image set; choose one of digits-10"):
        prepare_images(tmp_path / "mnist", "mnist", {})


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project folder with CIFAR-10 in class folders, whose first training image is damaged."""
    for folder in ("config", "workflow/schemas"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder)
    for split in ("train", "test"):
        for label in range(10):
            file = tmp_path / f"cifar10/{split}/class-{label}/1.png"
            file.parent.mkdir(parents=True)
            Image.new("RGB", (32, 32), (label, 0, 0)).save(file)
    (tmp_path / "cifar10/train/class-0/0.png").write_bytes(b"no image")
    monkeypatch.chdir(tmp_path)


def test_limit_of_corrupt_images_comes_from_the_settings(project):
    overrides = ["data.roots.cifar10=cifar10", "data.folder=made"]
    with pytest.raises(BadInput, match=r"cifar10 train: 1 of 11 images .*\(train/class-0/0\.png\), at most .* = 0 are"):
        commands.prepare_images("cifar10", overrides)
    commands.prepare_images("cifar10", [*overrides, "data.max_corrupt_images=1"])
    assert ImageSet.open("made/images/cifar10").train_labels.tolist() == list(range(10))
    with pytest.raises(BadInput, match=r"data\.max_corrupt_images = -1 breaks the rule '>= 0'"):
        commands.prepare_images("cifar10", [*overrides, "data.max_corrupt_images=-1"])


def test_shipped_corpus_settings_name_installed_packages():
    from moe_replication.data.corpus import CorpusSettings, find_sources

    settings = yaml.safe_load((REPOSITORY / "config" / "corpora" / "embedded.yaml").read_text(encoding="utf-8"))
    origin = settings.pop("origin")
    assert set(origin) == set(settings)
    assert all(find_sources(package) for package in CorpusSettings(**settings).packages)
