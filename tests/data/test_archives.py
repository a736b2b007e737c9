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


def test_root_may_be_the_archive_folder_under_any_name(archive, tmp_path):
    manifests = [make_hub_set(tmp_path / "out", "cifar10", {"cifar10": archive})]
    folder = archive / "cifar-10-batches-py"
    manifests.append(make_hub_set(tmp_path / "out", "cifar10", {"cifar10": folder}))
    folder.rename(archive / "batches")
    manifests.append(make_hub_set(tmp_path / "out", "cifar10", {"cifar10": archive / "batches"}))
    assert manifests[0] == manifests[1] == manifests[2]
    assert manifests[0]["dropped"]["train"] == {"count": 0, "names": []}


@pytest.fixture
def fine_archive(tmp_path, monkeypatch):
    """CIFAR-100's archive, whose files are named like the folders of other layouts: train and test."""
    cls = import_torchvision().datasets.CIFAR100
    folder = tmp_path / cls.base_folder
    folder.mkdir()
    sums = {}
    for name, label in (("train", 99), ("test", 7), ("meta", None)):
        batch = {"data": np.full((1, 3072), 5, np.uint8), "fine_labels": [label], "coarse_labels": [1]}
        content = pickle.dumps({"fine_label_names": ["apple"]} if name == "meta" else batch)
        (folder / name).write_bytes(content)
        sums[name] = hashlib.md5(content).hexdigest()
    monkeypatch.setattr(cls, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(cls, "test_list", [["test", sums["test"]]])
    monkeypatch.setattr(cls, "meta", {"filename": "meta", "key": "fine_label_names", "md5": sums["meta"]})
    return folder


def test_cifar100_takes_the_fine_labels(fine_archive, tmp_path):
    for root in (fine_archive, fine_archive.parent):
        make_hub_set(tmp_path / "out", "cifar100", {"cifar100": root})
        images = ImageSet.open(tmp_path / "out", verify=True)
        assert (images.train_labels.tolist(), images.test_labels.tolist()) == ([99], [7])


def test_altered_archive_is_refused(archive, tmp_path):
    (archive / "cifar-10-batches-py/test_batch").write_bytes(b"altered")
    message = (
        r"data\.roots\.cifar10: .*cifar-10-batches-py is incomplete or altered "
        r"\(test_batch has another MD5 than the published one\); unpack the published archive again"
    )
    with pytest.raises(BadInput, match=message):
        make_hub_set(tmp_path / "out", "cifar10", {"cifar10": archive})


@pytest.mark.parametrize("file", ["data_batch_1", "test_batch", "batches.meta"])
def test_missing_file_of_an_archive_is_named(archive, tmp_path, file):
    (archive / "cifar-10-batches-py" / file).unlink()
    with pytest.raises(BadInput, match=rf"is incomplete or altered \({file} is missing\)"):
        make_hub_set(tmp_path / "out", "cifar10", {"cifar10": archive})
