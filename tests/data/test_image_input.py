"""Which images a run sees, and how."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from moe_replication.data.image_input import ImageInput, balanced_indices, padded_crop_and_flip
from moe_replication.data.images import ImageSet, write_image_set
from moe_replication.errors import BadInput

LABELS = np.array([2, 0, 0, 1, 2, 0, 1, 0])


@pytest.fixture
def images(tmp_path) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 4, 8, 3), dtype=np.uint8)
    write_image_set(tmp_path, "made", (pixels, LABELS), (pixels[:4], LABELS[:4]), classes=3, source="random")
    return ImageSet.open(tmp_path)


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [1]), (3, [0, 1, 3]), (5, [0, 1, 2, 3, 6]), (6, [0, 1, 2, 3, 4, 6]), (8, [*range(8)])]
)
def test_a_part_takes_the_classes_in_turn(count, expected):
    assert balanced_indices(LABELS, count, "data.train_images").tolist() == expected


def test_too_large_a_part_is_named():
    with pytest.raises(BadInput, match=r"data.test_images = 9: the set holds 8 images; lower it"):
        balanced_indices(LABELS, 9, "data.test_images")
    assert balanced_indices(LABELS, None, "data.test_images").tolist() == [*range(8)]


def test_pixels_are_normalised_and_averaged(smoke, images):
    data = dataclasses.replace(smoke["v1"].data, pooling=2, train_images=3)
    source = ImageInput(images, data)
    assert (source.train_count, source.test_count, source.channels, source.classes) == (3, 4, 3, 3)
    planes, labels = source.train(np.array([2, 0]), torch.Generator())
    assert labels.tolist() == [1, 2]
    for row, index in enumerate((3, 0)):
        pixels = (images.train_images[index] / 255 - images.mean) / images.std
        blocks = pixels.reshape(2, 2, 4, 2, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
        np.testing.assert_allclose(planes[row].numpy(), blocks, atol=1e-5)


def test_pooling_must_divide_the_sides(smoke, images):
    with pytest.raises(BadInput, match=r"data.pooling = 3 must divide height and width of made, 4 x 8 pixels"):
        ImageInput(images, dataclasses.replace(smoke["v1"].data, pooling=3))


def test_crops_and_flips_against_a_loop():
    planes = torch.randn(20, 2, 16, 8, generator=torch.Generator().manual_seed(1))
    found = padded_crop_and_flip(planes, torch.Generator().manual_seed(7))
    generator = torch.Generator().manual_seed(7)
    tops = torch.randint(0, 5, (20,), generator=generator)
    lefts = torch.randint(0, 3, (20,), generator=generator)
    flips = torch.rand(20, generator=generator) < 0.5
    padded = torch.nn.functional.pad(planes, [1, 1, 2, 2])
    for image, top, left, flip, crop in zip(padded, tops, lefts, flips, found, strict=True):
        expected = image[:, top : top + 16, left : left + 8]
        assert torch.equal(crop, expected.flip(-1) if flip else expected)
    assert 0 < flips.sum() < 20
