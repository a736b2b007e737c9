from __future__ import annotations

import dataclasses
import hashlib
import io
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from moe_replication.data.hub_images import HUB_SETS, make_hub_set
from moe_replication.data.images import ImageSet
from moe_replication.errors import BadInput

REPOSITORY = Path(__file__).parents[2]


def picture(value: int, side: int = 32, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (side, side), (value, 0, 255) if mode == "RGB" else value).save(buffer, "PNG")
    return buffer.getvalue()


def table(contents: list[bytes | None], labels: list[int | None]) -> pa.Table:
    return pa.table({"img": [{"bytes": content, "path": None} for content in contents], "label": labels})


def hub_layout(root, train, test, name="{split}-00000-of-00001.parquet"):
    (root / "plain_text").mkdir(parents=True)
    for split, rows in (("train", train), ("test", test)):
        pq.write_table(rows, root / "plain_text" / name.format(split=split))
    return {"cifar10": root}


@pytest.fixture
def roots(tmp_path):
    train = table([picture(value) for value in (0, 100, 200)], [3, 1, 9])
    return hub_layout(tmp_path / "root", train, table([picture(7, mode="L")], [0]))


def test_local_parquet(tmp_path, roots):
    manifest = make_hub_set(tmp_path / "out", "cifar10", roots)
    images = ImageSet.open(tmp_path / "out", verify=True)
    assert images.train_images.shape == (3, 32, 32, 3)
    assert images.train_images[:, 5, 6].tolist() == [[0, 0, 255], [100, 0, 255], [200, 0, 255]]
    assert images.train_labels.tolist() == [3, 1, 9]
    # A grey image is spread over the three channels.
    assert images.test_images[0, 0, 0].tolist() == [7, 7, 7]
    np.testing.assert_allclose(images.mean, [100 / 255, 0, 1], atol=1e-12)
    assert str(tmp_path) not in str(manifest)


def test_corrupt_images_are_counted_and_left_out_up_to_the_limit(tmp_path):
    contents = [picture(1), b"no image", picture(2)[:60], None, picture(3, side=16), picture(4)]
    roots = hub_layout(tmp_path / "root", table(contents, [0, 1, 2, 3, 4, 5]), table([picture(5)], [6]))
    message = (
        r"cifar10 train: 4 of 6 images cannot be decoded to 32x32 \(row 1, row 2, row 3, row 4\), "
        r"at most data\.max_corrupt_images = 3 are allowed; replace the copy or raise data\.max_corrupt_images"
    )
    with pytest.raises(BadInput, match=message):
        make_hub_set(tmp_path / "out", "cifar10", roots, max_corrupt=3)
    assert not (tmp_path / "out" / "manifest.json").exists()
    manifest = make_hub_set(tmp_path / "out", "cifar10", roots, max_corrupt=4)
    names = ["row 1", "row 2", "row 3", "row 4"]
    assert manifest["dropped"] == {"train": {"count": 4, "names": names}, "test": {"count": 0, "names": []}}
    images = ImageSet.open(tmp_path / "out")
    assert images.train_labels.tolist() == [0, 5]
    assert images.train_images[:, 0, 0, 0].tolist() == [1, 4]


def test_rows_are_counted_over_all_chunks_of_a_table(tmp_path):
    halves = [table([picture(1), picture(2)], [0, 1]), table([b"no image", picture(4)], [2, 3])]
    roots = hub_layout(tmp_path / "root", halves[0], halves[1], name="{split}-00000-of-00001.parquet")
    for part, half in enumerate(halves):
        pq.write_table(half, tmp_path / "root" / "plain_text" / f"train-0000{part}-of-00002.parquet")
    (tmp_path / "root" / "plain_text" / "train-00000-of-00001.parquet").unlink()
    manifest = make_hub_set(tmp_path / "out", "cifar10", roots, max_corrupt=1)
    assert manifest["dropped"]["train"]["names"] == ["row 2"]
    assert ImageSet.open(tmp_path / "out").train_labels.tolist() == [0, 1, 3]


def test_normalisation_is_of_the_training_images_whose_hash_stands_beside_it(tmp_path):
    def made(train_value, test_value):
        folder = tmp_path / f"{train_value}-{test_value}"
        train = table([picture(train_value), picture(40)], [0, 1])
        roots = hub_layout(folder / "root", train, table([picture(test_value)], [2]))
        return folder / "out", make_hub_set(folder / "out", "cifar10", roots)

    folder, first = made(100, 200)
    pixels = np.load(folder / "train_images.npy").astype(np.float64) / 255
    np.testing.assert_allclose(first["mean"], pixels.mean(axis=(0, 1, 2)), atol=1e-12)
    np.testing.assert_allclose(first["std"], pixels.std(axis=(0, 1, 2)), atol=1e-12)
    content = (folder / "train_images.npy").read_bytes()
    assert first["files"]["train_images"]["sha256"] == hashlib.sha256(content).hexdigest()
    # Other training images: other constants and another hash.
    other_folder, other = made(110, 200)
    assert other["mean"] != first["mean"]
    assert other["files"]["train_images"]["sha256"] != first["files"]["train_images"]["sha256"]
    assert ImageSet.open(other_folder).sha256 != ImageSet.open(folder).sha256
    # Other test images: another set, the same constants.
    third_folder, third = made(100, 210)
    assert (third["mean"], third["std"]) == (first["mean"], first["std"])
    assert ImageSet.open(third_folder).sha256 != ImageSet.open(folder).sha256


def test_missing_root_and_files_say_what_to_set(tmp_path, roots):
    with pytest.raises(BadInput, match=r"data\.roots\.cifar10: .*nowhere is no folder; set data\.roots\.cifar10"):
        make_hub_set(tmp_path / "out", "cifar10", {"cifar10": tmp_path / "nowhere"})
    (tmp_path / "root" / "plain_text" / "test-00000-of-00001.parquet").unlink()
    with pytest.raises(BadInput, match=r"data\.roots\.cifar10: .*no test-\*\.parquet"):
        make_hub_set(tmp_path / "out", "cifar10", roots)


def test_incomplete_copy(tmp_path):
    rows = table([picture(1)], [0])
    roots = hub_layout(tmp_path / "root", rows, rows, name="{split}-00000-of-00002.parquet")
    with pytest.raises(
        BadInput, match=r"holds 1 of 2 files train-\*\.parquet; set data\.roots\.cifar10 to one complete copy"
    ):
        make_hub_set(tmp_path / "out", "cifar10", roots)


def test_wrong_columns_types_and_damaged_parquet(tmp_path, roots):
    file = tmp_path / "root" / "plain_text" / "train-00000-of-00001.parquet"
    good = pq.read_table(file)
    pq.write_table(good.rename_columns(["image", "label"]), file)
    with pytest.raises(BadInput, match=r"lacks column 'img', has \['image', 'label'\]; set data\.roots\.cifar10"):
        make_hub_set(tmp_path / "out", "cifar10", roots)
    pq.write_table(pa.table({"img": ["text"], "label": [1]}), file)
    with pytest.raises(BadInput, match="column 'img' is string"):
        make_hub_set(tmp_path / "out", "cifar10", roots)
    pq.write_table(table([picture(1), picture(2)], [1, None]), file)
    with pytest.raises(BadInput, match="column 'label' must be whole numbers without gaps"):
        make_hub_set(tmp_path / "out", "cifar10", roots)
    pq.write_table(table([picture(1)], [10]), file)
    with pytest.raises(BadInput, match=r"labels in 0\.\.9"):
        make_hub_set(tmp_path / "out", "cifar10", roots)
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(BadInput, match=r"train-00000-of-00001\.parquet: not a readable parquet file"):
        make_hub_set(tmp_path / "out", "cifar10", roots)


def test_no_network_fails_at_once_and_says_what_to_set(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    # Nothing listens on the discard port.
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(BadInput, match=r"cannot be reached .*set data\.roots\.cifar10") as caught:
        make_hub_set(tmp_path / "out", "cifar10", {"cifar10": None})
    assert "\n" not in str(caught.value)


def test_rows_of_a_real_copy(tmp_path):
    root = Path(os.environ.get("MOE_REPLICATION_CIFAR10", REPOSITORY / "../shared/data/cifar10"))
    if not root.is_dir():
        pytest.skip(f"no local CIFAR-10 at {root}; set MOE_REPLICATION_CIFAR10")
    few = {}
    for split in ("train", "test"):
        (file,) = sorted(root.glob(f"**/{split}-*.parquet"))
        few[split] = pa.Table.from_batches([next(pq.ParquetFile(file).iter_batches(20))])
    make_hub_set(tmp_path / "out", "cifar10", hub_layout(tmp_path / "root", few["train"], few["test"]))
    images = ImageSet.open(tmp_path / "out", verify=True)
    assert images.train_images.shape == images.test_images.shape == (20, 32, 32, 3)
    assert images.train_images.std() > 10
    assert len(set(images.train_labels.tolist())) > 1


def test_hub_tables_become_arrays(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    asked = []

    def load_dataset(repository, configuration, revision, split):
        asked.append((repository, configuration, revision, split))
        rows = {"img": [{"bytes": picture(9), "path": None}], "label": [4]}
        features = datasets.Features({"img": datasets.Image(), "label": datasets.Value("int64")})
        return datasets.Dataset.from_dict(rows, features=features)

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    manifest = make_hub_set(tmp_path / "out", "cifar10", {"cifar10": None})
    images = ImageSet.open(tmp_path / "out")
    commit = "0b2714987fa478483af9968de7c934580d0bb9a2"
    assert asked == [("uoft-cs/cifar10", "plain_text", commit, split) for split in ("train", "test")]
    assert manifest["source"] == f"uoft-cs/cifar10 (plain_text), the hub at {commit}"
    assert images.train_images[0, 0, 0].tolist() == [9, 0, 255]
    assert images.test_labels.tolist() == [4]


def test_hub_failure_is_one_line_with_the_remedy(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")

    def load_dataset(*_, **__):
        raise ConnectionError("offline mode\nis on")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(BadInput, match=r"does not load \(offline mode is on\); set data\.roots\.cifar10"):
        make_hub_set(tmp_path / "out", "cifar10", {"cifar10": None})


def test_an_incomplete_copy_is_refused(tmp_path, monkeypatch, roots):
    monkeypatch.setitem(HUB_SETS, "cifar10", dataclasses.replace(HUB_SETS["cifar10"], sizes=(3, 10)))
    with pytest.raises(BadInput, match=r"cifar10: the test split has 1 of 10 images; the copy is incomplete"):
        make_hub_set(tmp_path / "out", "cifar10", roots)
    assert not (tmp_path / "out" / "manifest.json").exists()
