"""TinyImageNet-200's own archive and its re-arranged form, as trees of three classes and 8x8 images made here."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moe_replication.data.hub_images import HUB_SETS, make_hub_set
from moe_replication.data.images import ImageSet
from moe_replication.data.prepare import prepare_images
from moe_replication.errors import BadInput
from moe_replication.files import read_json

# In the order of wnids.txt, which is not sorted; the level of each class's images.
LEVELS = {"n03": 30, "n01": 10, "n02": 20}
SIDE = 8


def save(path: Path, level: int, mode: str = "L", side: int = SIDE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (side, side), level if mode == "L" else (level, level, level)).save(path, "JPEG")


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Two training images and one validation image a class; image 1 of a class is one level brighter."""
    monkeypatch.setitem(
        HUB_SETS, "tiny-imagenet", dataclasses.replace(HUB_SETS["tiny-imagenet"], classes=len(LEVELS), side=SIDE)
    )
    tree = tmp_path / "root" / "tiny-imagenet-200"
    for wnid, level in LEVELS.items():
        for number in range(2):
            save(tree / "train" / wnid / "images" / f"{wnid}_{number}.JPEG", level + number)
        (tree / "train" / wnid / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t0\t7\t7\n")
    (tree / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in LEVELS))
    (tree / "words.txt").write_text("n01\tgoldfish\n")
    for number, wnid in enumerate(("n02", "n03", "n01")):
        save(tree / "val" / "images" / f"val_{number}.JPEG", LEVELS[wnid] + 5)
    annotate(tree, "n02", "n03", "n01")
    save(tree / "test" / "images" / "test_0.JPEG", 0)
    return tree


def annotate(tree: Path, *wnids: str) -> None:
    lines = [f"val_{number}.JPEG\t{wnid}\t0\t32\t44\t62\n" for number, wnid in enumerate(wnids)]
    (tree / "val" / "val_annotations.txt").write_text("".join(lines))


def rearrange(tree: Path) -> None:
    """What the usual scripts do: every validation image into a folder named by its class."""
    for line in (tree / "val" / "val_annotations.txt").read_text().splitlines():
        name, wnid = line.split("\t")[:2]
        (tree / "val" / wnid).mkdir()
        (tree / "val" / "images" / name).rename(tree / "val" / wnid / name)


def make(tmp_path: Path, root: Path, **options: int) -> ImageSet:
    make_hub_set(tmp_path / "out", "tiny-imagenet", {"tiny-imagenet": root}, **options)
    return ImageSet.open(tmp_path / "out", verify=True)


def refused(tmp_path: Path, root: Path, **options: int) -> str:
    with pytest.raises(BadInput) as caught:
        make(tmp_path, root, **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "manifest.json").exists()
    return str(caught.value)


def test_stock_archive_labels_count_the_sorted_identifiers(tmp_path, tree):
    images = make(tmp_path, tree)
    assert images.train_images.shape == (6, SIDE, SIDE, 3)
    assert images.train_labels.tolist() == [0, 0, 1, 1, 2, 2]
    # Grey files are spread over the three channels.
    assert images.train_images[:, 3, 4].tolist() == [[level] * 3 for level in (10, 11, 20, 21, 30, 31)]
    # The class of a validation image comes from its line, not from its name.
    assert images.test_labels.tolist() == [0, 1, 2]
    assert images.test_images[:, 0, 0, 0].tolist() == [15, 25, 35]
    assert read_json(tmp_path / "out" / "manifest.json")["class_names"] == ["n01", "n02", "n03"]


def test_root_may_be_the_folder_or_its_parent(tmp_path, tree):
    of_folder, of_parent = make(tmp_path, tree), make(tmp_path, tree.parent)
    assert of_folder.sha256 == of_parent.sha256


def test_rearranged_validation_folders_give_the_same_set(tmp_path, tree):
    stock = make(tmp_path, tree)
    rearrange(tree)
    assert make(tmp_path, tree).sha256 == stock.sha256
    # Without the empty folder and the lists, and with training images straight in their folders: ImageFolder's form.
    (tree / "val" / "images").rmdir()
    (tree / "val" / "val_annotations.txt").unlink()
    (tree / "wnids.txt").unlink()
    for wnid in LEVELS:
        for file in sorted((tree / "train" / wnid / "images").iterdir()):
            file.rename(tree / "train" / wnid / file.name)
        (tree / "train" / wnid / "images").rmdir()
    assert make(tmp_path, tree).sha256 == stock.sha256


def test_half_rearranged_folder_is_refused(tmp_path, tree):
    rearrange(tree)
    save(tree / "val" / "images" / "val_9.JPEG", 1)
    assert "val/images: still holds 1 images beside class folders (val_9.JPEG); move them too" in refused(
        tmp_path, tree
    )


def test_colour_files_stay_in_colour(tmp_path, tree):
    Image.new("RGB", (SIDE, SIDE), (200, 100, 0)).save(tree / "train/n01/images/n01_0.JPEG", quality=100)
    pixel = make(tmp_path, tree).train_images[0, 4, 4].astype(int)
    assert np.abs(pixel - [200, 100, 0]).max() <= 3


def test_missing_annotations(tmp_path, tree):
    (tree / "val" / "val_annotations.txt").unlink()
    message = refused(tmp_path, tree)
    assert f"{tree}/val/val_annotations.txt: no such file, and {tree}/val/images cannot be labelled" in message
    assert message.endswith("unpack the archive again")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("val_1.JPEG\tn09\t0\t0\t7\t7", "line 2: unknown class 'n09' of val_1.JPEG; unpack wnids.txt and val_annot"),
        ("val_7.JPEG\tn03\t0\t0\t7\t7", "val/images/val_7.JPEG is missing; unpack the archive again"),
        ("val_0.JPEG\tn03\t0\t0\t7\t7", "line 2: val_0.JPEG stands there twice; unpack"),
        ("val_1.JPEG n03", "line 2: 'val_1.JPEG n03' is not FILE, CLASS and box split by tabs; unpack"),
        ("", "val_annotations.txt: no line for 1 of 3 files in"),
    ],
)
def test_wrong_line_of_the_annotations_is_named(tmp_path, tree, line, message):
    path = tree / "val" / "val_annotations.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], line, lines[2]]) + "\n")
    found = refused(tmp_path, tree)
    assert message in found
    assert str(path) in found


def test_images_without_a_line_are_named(tmp_path, tree):
    for number in range(3, 10):
        save(tree / "val" / "images" / f"val_{number}.JPEG", 1)
    message = refused(tmp_path, tree)
    assert "no line for 7 of 10 files in" in message
    assert "(val_3.JPEG, val_4.JPEG, val_5.JPEG, val_6.JPEG, val_7.JPEG, and 2 more)" in message


def test_class_without_a_validation_image_is_named(tmp_path, tree):
    annotate(tree, "n02", "n03", "n02")
    assert "val_annotations.txt: no image of 1 of 3 classes (n01)" in refused(tmp_path, tree)


def test_missing_class_folder_is_named_in_either_split(tmp_path, tree):
    rearrange(tree)
    shutil.rmtree(tree / "val" / "n03")
    message = refused(tmp_path, tree)
    assert f"{tree}/val lacks a folder for 1 of the 3 classes in {tree}/wnids.txt (n03)" in message
    assert message.endswith("set data.roots.tiny-imagenet to one complete copy")
    shutil.rmtree(tree / "train" / "n01")
    assert f"{tree}/train lacks a folder for 1 of the 3 classes in {tree}/wnids.txt (n01)" in refused(tmp_path, tree)


def test_unknown_class_folder_and_empty_class_folder(tmp_path, tree):
    save(tree / "train" / "n08" / "images" / "n08_0.JPEG", 1)
    assert "train holds folders of unknown classes (n08), not in" in refused(tmp_path, tree)
    shutil.rmtree(tree / "train" / "n08")
    for file in (tree / "train" / "n02" / "images").iterdir():
        file.unlink()
    assert "train/n02 holds no image (.jpeg, .jpg, .png); set data.roots.tiny-imagenet" in refused(tmp_path, tree)


def test_number_of_classes(tmp_path, tree):
    with open(tree / "wnids.txt", "a") as handle:
        handle.write("n04\n")
    assert "wnids.txt names 4 classes (n03, n01, n02, n04), expected 3; set" in refused(tmp_path, tree)
    (tree / "wnids.txt").write_text("n03\nn01\nn03\n")
    assert "wnids.txt line 3: n03 stands there twice" in refused(tmp_path, tree)


def test_validation_folder_with_neither_layout(tmp_path, tree):
    shutil.rmtree(tree / "val" / "images")
    message = refused(tmp_path, tree)
    assert "val must hold a folder for each class, or images/ and val_annotations.txt; found val_ann" in message
    shutil.rmtree(tree / "val")
    assert "found no such folder; set data.roots.tiny-imagenet" in refused(tmp_path, tree)


def test_packed_archive_is_to_be_unpacked(tmp_path, tree):
    shutil.rmtree(tree)
    (tree.parent / "tiny-imagenet-200.zip").write_bytes(b"PK")
    message = refused(tmp_path, tree.parent)
    assert "holds none of the layouts of tiny-imagenet: looked for parquet files (default/train-*.parquet" in message
    assert "class folders (train/CLASS/, val/; or in tiny-imagenet-200/)" in message
    assert "found tiny-imagenet-200.zip; unpack tiny-imagenet-200.zip, or set data.roots.tiny-imagenet" in message


def test_corrupt_files_are_named_counted_and_left_out_up_to_the_limit(tmp_path, tree, capsys):
    (tree / "train/n02/images/n02_0.JPEG").write_bytes(b"\xff\xd8\xff cut off")
    save(tree / "train/n03/images/n03_1.JPEG", 1, side=4)
    message = refused(tmp_path, tree, max_corrupt=1)
    assert "tiny-imagenet train: 2 of 6 images cannot be decoded to 8x8" in message
    assert "(train/n02/images/n02_0.JPEG, train/n03/images/n03_1.JPEG)" in message
    assert "at most data.max_corrupt_images = 1 are allowed" in message
    manifest = prepare_images(tmp_path / "out", "tiny-imagenet", {"tiny-imagenet": tree}, max_corrupt=2)
    images = ImageSet.open(tmp_path / "out", verify=True)
    assert images.train_labels.tolist() == [0, 0, 1, 2]
    assert images.train_images[:, 0, 0, 0].tolist() == [10, 11, 21, 30]
    names = ["train/n02/images/n02_0.JPEG", "train/n03/images/n03_1.JPEG"]
    assert manifest["dropped"] == {"train": {"count": 2, "names": names}, "test": {"count": 0, "names": []}}
    line = "images: tiny-imagenet, left out as corrupt: 2 train (" + ", ".join(names) + "); manifest.json names all"
    assert line in capsys.readouterr().out.splitlines()


def test_limit_holds_for_each_split(tmp_path, tree):
    (tree / "train/n02/images/n02_0.JPEG").write_bytes(b"")
    (tree / "val/images/val_2.JPEG").write_bytes(b"")
    images = make(tmp_path, tree, max_corrupt=1)
    assert (len(images.train_labels), images.test_labels.tolist()) == (5, [1, 2])
