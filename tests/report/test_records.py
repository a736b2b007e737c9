"""Sizes of the splits: as counted in the data that the runs read, else as far as the settings and sources say."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import polars as pl
import pytest

from moe_replication.config import load_project
from moe_replication.config.needs import data_path
from moe_replication.files import sha256_json, write_json
from moe_replication.report.records import Records, Split

ROOT = Path(__file__).parents[2]
TEXT = {"splits": {"train": {"tokens": 270_000}, "validation": {"tokens": 8_000}}}
IMAGES = {"counts": {"train": 1400, "test": 350}}


@pytest.fixture
def records(tmp_path):
    """records(scale, conditions, *manifests of the runs): below a folder without any prepared data."""

    def make(scale: str, conditions: list[str], *trained_on: dict) -> Records:
        for part in ("config", "workflow"):
            (tmp_path / part).symlink_to(ROOT / part)
        project = load_project(ROOT, {"scale": scale, "conditions": conditions})
        runs = pl.DataFrame({"data_sha256": [sha256_json(manifest) for manifest in trained_on]}, schema=["data_sha256"])
        return Records(project=dataclasses.replace(project, root=tmp_path), runs=runs, card={})

    return make


def prepare(found: Records, manifest: dict) -> None:
    """The manifest of every condition's prepared data."""
    for paper in found.project.papers.values():
        for condition in paper.conditions.values():
            folder = found.project.root / data_path(found.project.data_folder, condition.config)
            write_json(folder / "manifest.json", manifest)


def test_tokens_are_counted_in_the_data_that_runs_were_trained_on(records):
    found = records("smoke", ["tc"], TEXT)
    prepare(found, TEXT)
    assert found.splits == [Split(text="embedded: 270,000 training tokens, 8,000 validation tokens", known=True)]


def test_images_are_counted_there_up_to_the_limit_of_the_settings(records):
    found = records("cifar", ["v1"], IMAGES)
    prepare(found, IMAGES)
    # The scale asks for 10,000 and 2,000 images at most.
    assert found.splits == [Split(text="cifar10: 1,400 training images, 350 test images", known=True)]


def test_data_prepared_since_are_not_taken_for_those_of_the_runs(records):
    found = records("smoke", ["tc"], TEXT | {"format": 0})
    prepare(found, TEXT)
    (split,) = found.splits
    assert "270,000" not in split.text
    assert not split.known


def test_without_prepared_data_published_sizes_bound_the_settings(records):
    # WikiText-2 has about 2.4 million tokens, whatever the limit of the settings.
    (text,) = records("paper", ["l1"]).splits
    assert text.text.startswith("wikitext-2: about 2,400,000 training tokens, at most ")
    assert not text.known


def test_a_limit_below_the_set_stands_as_a_limit(records):
    (text,) = records("smoke", ["tc"]).splits
    assert text.text.startswith("embedded: at most 75,000 training tokens, at most 8,192 validation tokens;")


def test_published_numbers_of_images_are_known(records):
    assert records("cifar", ["v1"]).splits == [
        Split(text="cifar10: 10,000 training images, 2,000 test images", known=True)
    ]
