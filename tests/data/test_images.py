from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_replication.data.images import (
    ImageSet,
    channel_moments,
    make_digit_pairs,
    make_digits,
    split_digits,
    write_image_set,
)
from moe_replication.errors import BadInput


def tiny(folder, **changes):
    images = np.arange(2 * 2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 2, 3)
    arguments = {"classes": 2, "source": "test", **changes}
    return write_image_set(folder, "tiny", (images, np.array([0, 1])), (images[:1], np.array([1])), **arguments)


def test_round_trip(tmp_path):
    manifest = tiny(tmp_path)
    images = ImageSet.open(tmp_path, verify=True)
    assert (images.name, images.classes) == ("tiny", 2)
    assert images.train_images.dtype == np.uint8
    assert images.train_labels.dtype == np.int64
    assert images.train_images.tolist() == np.arange(24).reshape(2, 2, 2, 3).tolist()
    assert images.test_labels.tolist() == [1]
    assert manifest["counts"] == {"train": 2, "test": 1}


def test_moments_of_a_hand_worked_channel():
    # Half the pixels 0, half 255: mean 1/2, deviation 1/2; the second channel is constant.
    images = np.zeros((2, 1, 1, 2), np.uint8)
    images[1, 0, 0, 0] = 255
    images[..., 1] = 51
    mean, std = channel_moments(images)
    np.testing.assert_allclose(mean, [0.5, 0.2], atol=1e-15)
    np.testing.assert_allclose(std, [0.5, 0.0], atol=1e-15)


@given(st.integers(0, 2**32 - 1))
def test_moments_agree_with_numpy(seed):
    images = np.random.default_rng(seed).integers(0, 256, (5, 4, 3, 2)).astype(np.uint8)
    mean, std = channel_moments(images)
    np.testing.assert_allclose(mean, (images / 255).mean(axis=(0, 1, 2)), atol=1e-12)
    np.testing.assert_allclose(std, (images / 255).std(axis=(0, 1, 2)), atol=1e-12)


def test_digits_are_split_by_class_without_overlap(tmp_path):
    make_digits(tmp_path)
    digits = ImageSet.open(tmp_path, verify=True)
    assert digits.train_images.shape == (1438, 8, 8, 1)
    assert digits.test_images.shape == (359, 8, 8, 1)
    assert digits.train_images.max() == 255
    counts = np.bincount(digits.train_labels) + np.bincount(digits.test_labels)
    assert np.bincount(digits.test_labels).tolist() == [round(0.2 * count) for count in counts]
    (first, _), (again, _) = split_digits(0)[0], split_digits(0)[0]
    assert np.array_equal(first, again)
    assert not np.array_equal(first, split_digits(1)[0][0])


def pool(images) -> set[bytes]:
    return {image.tobytes() for image in np.ascontiguousarray(images)}


def test_pairs_are_made_of_digits_of_their_own_split(tmp_path):
    make_digit_pairs(tmp_path, rotations=False, train_count=400, test_count=200)
    pairs = ImageSet.open(tmp_path, verify=True)
    assert pairs.train_images.shape == (400, 8, 16, 1)
    assert np.bincount(pairs.train_labels).tolist() == [4] * 100
    for images, labels, (digits, digit_labels) in zip(
        (pairs.train_images, pairs.test_images),
        (pairs.train_labels, pairs.test_labels),
        split_digits(0),
        strict=True,
    ):
        for half, digit in ((images[:, :, :8], labels // 10), (images[:, :, 8:], labels % 10)):
            for value in range(10):
                assert pool(half[digit == value]) <= pool(digits[digit_labels == value])


def test_no_test_digit_occurs_in_training_pairs(tmp_path):
    make_digit_pairs(tmp_path, rotations=False, train_count=1000, test_count=500)
    pairs = ImageSet.open(tmp_path)
    halves = [
        pool(np.concatenate([images[:, :, :8], images[:, :, 8:]])) for images in (pairs.train_images, pairs.test_images)
    ]
    assert not halves[0] & halves[1]


def test_rotated_pairs_turn_by_180_degrees(tmp_path):
    make_digit_pairs(tmp_path, rotations=True, train_count=400, test_count=200)
    pairs = ImageSet.open(tmp_path)
    assert pairs.classes == 200
    assert np.bincount(pairs.train_labels).tolist() == [2] * 200
    (digits, digit_labels), _ = split_digits(0)
    turned = pairs.train_labels >= 100
    back = np.rot90(pairs.train_images[turned], 2, axes=(1, 2))
    digit = pairs.train_labels[turned] % 100 // 10
    for value in range(10):
        assert pool(back[digit == value][:, :, :8]) <= pool(digits[digit_labels == value])


def test_pairs_are_deterministic_distinct_and_follow_the_seed(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        make_digit_pairs(tmp_path / name, rotations=False, train_count=2000, test_count=100, seed=seed)
    first, same, other = (ImageSet.open(tmp_path / name) for name in "abc")
    assert first.sha256 == same.sha256 != other.sha256
    assert len(pool(first.train_images)) == 2000


def test_more_pairs_than_digits_allow(tmp_path):
    with pytest.raises(BadInput, match="digit pairs: 500000"):
        make_digit_pairs(tmp_path, rotations=False, train_count=100, test_count=500000)


def test_labels_outside_the_classes(tmp_path):
    with pytest.raises(BadInput, match=r"tiny: the train split needs labels in 0\.\.0"):
        tiny(tmp_path, classes=1)


def test_damaged_files_are_named(tmp_path):
    manifest = tiny(tmp_path)
    path = tmp_path / "train_images.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\xff")
    ImageSet.open(tmp_path)
    with pytest.raises(BadInput, match=r"train_images\.npy: SHA-256"):
        ImageSet.open(tmp_path, verify=True)
    path.write_bytes(content[:-1])
    with pytest.raises(BadInput, match=r"train_images\.npy: 151 bytes"):
        ImageSet.open(tmp_path)
    path.write_bytes(bytes(len(content)))
    with pytest.raises(BadInput, match=r"train_images\.npy: not a \.npy array"):
        ImageSet.open(tmp_path)
    path.write_bytes(content)
    (tmp_path / "manifest.json").write_text(
        json.dumps({**manifest, "shapes": {**manifest["shapes"], "test_labels": [9]}})
    )
    with pytest.raises(BadInput, match=r"test_labels\.npy: int64 \[1\], expected int64 \[9\]"):
        ImageSet.open(tmp_path)
    (tmp_path / "manifest.json").write_text('{"name": "tiny"}')
    with pytest.raises(BadInput, match="lacks 'classes'"):
        ImageSet.open(tmp_path)
