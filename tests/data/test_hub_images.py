from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from moe_replication.data.hub_images import make_hub_set
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
    with pytest.raises(BadInput, match=r"cifar10 train: 4 of 6 images cannot be decoded .*first is row 1.*at most 3"):
        make_hub_set(tmp_path / "out", "cifar10", roots, max_corrupt=3)
    assert not (tmp_path / "out" / "manifest.json").exists()
    make_hub_set(tmp_path / "out", "cifar10", roots, max_corrupt=4)
    images = ImageSet.open(tmp_path / "out")
    assert images.train_labels.tolist() == [0, 5]
    assert images.train_images[:, 0, 0, 0].tolist() == [1, 4]


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
