"""CIFAR-10 as torchvision's class folders, and roots in no known layout."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from moe_replication.data.hub_images import make_hub_set
from moe_replication.data.images import ImageSet
from moe_replication.errors import BadInput

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture
def root(tmp_path):
    """One image of each class and split; its red level is the label, 100 higher in the test split."""
    root = tmp_path / "root"
    for split, level in (("train", 0), ("test", 100)):
        for label, name in enumerate(CLASSES):
            path = root / split / name / "0001.png"
            path.parent.mkdir(parents=True)
            Image.new("RGB", (32, 32), (level + label, 1, 2)).save(path)
    return root


def make(tmp_path: Path, root: Path) -> ImageSet:
    make_hub_set(tmp_path / "out", "cifar10", {"cifar10": root})
    return ImageSet.open(tmp_path / "out", verify=True)


def test_class_folders_are_numbered_by_name(tmp_path, root):
    images = make(tmp_path, root)
    assert images.train_labels.tolist() == images.test_labels.tolist() == list(range(10))
    assert images.train_images[:, 31, 31].tolist() == [[label, 1, 2] for label in range(10)]
    assert images.test_images[:, 0, 0, 0].tolist() == list(range(100, 110))


def test_root_may_be_the_parent(tmp_path, root):
    parent = tmp_path / "parent"
    parent.mkdir()
    root.rename(parent / "cifar10")
    assert make(tmp_path, parent).test_labels.tolist() == list(range(10))


def test_superclass_folders_are_refused_by_their_number(tmp_path, root):
    (root / "train" / "truck").rename(root / "train" / "ship" / "truck")
    with pytest.raises(BadInput, match=r"data\.roots\.cifar10: .*/train names 9 classes \(airplane, .*expected 10"):
        make(tmp_path, root)


def test_test_folder_of_other_classes(tmp_path, root):
    (root / "test" / "cat").rename(root / "test" / "lynx")
    with pytest.raises(BadInput, match=r"/test lacks a folder for 1 of the 10 classes in .*/train \(cat\)"):
        make(tmp_path, root)


def test_unknown_layout_says_what_was_looked_for_and_found(tmp_path):
    root = tmp_path / "root"
    (root / "pictures").mkdir(parents=True)
    (root / "labels.csv").write_text("x")
    with pytest.raises(BadInput) as caught:
        make(tmp_path, root)
    message = str(caught.value)
    assert f"data.roots.cifar10: {root} holds none of the layouts of cifar10: looked for parquet files" in message
    assert "the unpacked archive (cifar-10-batches-py/)" in message
    assert "found labels.csv, pictures; set data.roots.cifar10 to a folder that holds one of them" in message
    (root / "cifar-10-python.tar.gz").write_bytes(b"")
    with pytest.raises(BadInput, match=r"; unpack cifar-10-python\.tar\.gz, or set data\.roots\.cifar10"):
        make(tmp_path, root)
