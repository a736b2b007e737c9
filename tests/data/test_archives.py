"""CIFAR's original archives through torchvision, on tiny archives made here."""

from __future__ import annotations

import hashlib
import pickle

import numpy as np
import pytest

from moe_replication.data.archives import import_torchvision
from moe_replication.data.hub_images import make_hub_set
from moe_replication.data.images import ImageSet
from moe_replication.errors import BadInput


def test_torchvision_imports_and_its_transforms_work():
    torchvision = import_torchvision()
    import torch
    from torchvision.transforms import v2

    image = torch.arange(9, dtype=torch.uint8).reshape(1, 3, 3)
    assert v2.functional.horizontal_flip(image)[0, 0].tolist() == [2, 1, 0]
    assert hasattr(torchvision.datasets, "CIFAR10")


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """An archive of 20 training and 4 test images whose MD5 sums torchvision is told to expect."""
    cls = import_torchvision().datasets.CIFAR10
    folder = tmp_path / cls.base_folder
    folder.mkdir()
    generator = np.random.default_rng(0)
    sums = {}
    for name, count in (("data_batch_1", 20), ("test_batch", 4), ("batches.meta", 0)):
        batch = {
            "data": generator.integers(0, 255, (count, 3072), dtype=np.uint8),
            "labels": list(range(10))[:count] * 2,
        }
        batch["labels"] = batch["labels"][:count]
        content = pickle.dumps({"label_names": list("abcdefghij")} if name == "batches.meta" else batch)
        (folder / name).write_bytes(content)
        sums[name] = hashlib.md5(content).hexdigest()
    monkeypatch.setattr(cls, "train_list", [["data_batch_1", sums["data_batch_1"]]])
    monkeypatch.setattr(cls, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(cls, "meta", {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]})
    return tmp_path


def test_archive_becomes_an_image_set(archive, tmp_path):
    make_hub_set(tmp_path / "out", "cifar10", {"cifar10": archive})
    images = ImageSet.open(tmp_path / "out", verify=True)
    assert images.train_images.shape == (20, 32, 32, 3)
    assert images.test_labels.tolist() == [0, 1, 2, 3]
    with open(archive / "cifar-10-batches-py/data_batch_1", "rb") as handle:
        first = pickle.load(handle)["data"][0].reshape(3, 32, 32)
    assert np.array_equal(images.train_images[0], first.transpose(1, 2, 0))


def test_altered_archive_is_refused(archive, tmp_path):
    (archive / "cifar-10-batches-py/test_batch").write_bytes(b"altered")
    with pytest.raises(BadInput, match=r"data\.roots\.cifar10: .*incomplete or altered.*published archive"):
        make_hub_set(tmp_path / "out", "cifar10", {"cifar10": archive})
