"""Images as a model reads them: normalised, augmented, pooled planes of a part of a set.

Legend: N images, C channels, H height, W width, Y classes.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from moe_replication.config.sections import DataConfig
from moe_replication.data.images import ImageSet
from moe_replication.errors import BadInput

# 4 pixels at 32 (He et al. 2016), the same share of other sides.
_SIDE_OVER_PADDING = 8


class ImageInput:
    """The chosen part of an image set; indices run over 0..train_count-1 and 0..test_count-1."""

    def __init__(self, images: ImageSet, data: DataConfig) -> None:
        self.classes, self.channels = images.classes, images.train_images.shape[-1]
        self.augmented, self.pooling = data.augmentation == "standard", data.pooling
        self._images = images
        self._train = balanced_indices(images.train_labels, data.train_images, "data.train_images")
        self._test = balanced_indices(images.test_labels, data.test_images, "data.test_images")
        self._mean = torch.tensor(images.mean, dtype=torch.float32).view(1, -1, 1, 1)
        self._std = torch.tensor(images.std, dtype=torch.float32).view(1, -1, 1, 1)
        sides = images.train_images.shape[1:3]
        if any(side % data.pooling for side in sides):
            raise BadInput(
                f"data.pooling = {data.pooling} must divide height and width of {images.name},"
                f" {sides[0]} x {sides[1]} pixels"
            )

    @property
    def train_count(self) -> int:
        """Images of an epoch."""
        return len(self._train)

    @property
    def test_count(self) -> int:
        """Images of the census."""
        return len(self._test)

    def train(self, indices: np.ndarray, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Training images (N, C, H, W) float32 and labels (N,); `generator` draws the augmentation."""
        chosen = self._train[indices]
        planes = self._planes(self._images.train_images[chosen])
        if self.augmented:
            planes = padded_crop_and_flip(planes, generator)
        return self._pooled(planes), torch.from_numpy(self._images.train_labels[chosen])

    def test(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        """Test images (N, C, H, W) float32 and labels (N,)."""
        chosen = self._test[indices]
        return self._pooled(self._planes(self._images.test_images[chosen])), torch.from_numpy(
            self._images.test_labels[chosen]
        )

    def _planes(self, images_NHWC: np.ndarray) -> Tensor:
        # Planes copied to NCHW: with channels last, oneDNN's backward corrupts memory at 4 channels (AVX2).
        planes = np.ascontiguousarray(images_NHWC.transpose(0, 3, 1, 2), dtype=np.float32)
        return (torch.from_numpy(planes) / 255.0 - self._mean) / self._std

    def _pooled(self, planes: Tensor) -> Tensor:
        return F.avg_pool2d(planes, self.pooling) if self.pooling > 1 else planes


def balanced_indices(labels_N: np.ndarray, count: int | None, key: str) -> np.ndarray:
    """The first `count` images taken class by class in turn, in the order of the set; None for all of it."""
    if count is None:
        return np.arange(len(labels_N))
    if count > len(labels_N):
        raise BadInput(f"{key} = {count}: the set holds {len(labels_N)} images; lower it, or null for all")
    by_class = np.argsort(labels_N, kind="stable")
    sorted_labels = labels_N[by_class]
    occurrence = np.empty(len(labels_N), dtype=np.int64)
    occurrence[by_class] = np.arange(len(labels_N)) - np.searchsorted(sorted_labels, sorted_labels)
    return np.sort(np.lexsort((labels_N, occurrence))[:count])


def padded_crop_and_flip(planes: Tensor, generator: torch.Generator) -> Tensor:
    """Random crop of the zero-padded image (an eighth of its sides) and horizontal flip, each image by itself."""
    count, _, height, width = planes.shape
    pad_h, pad_w = height // _SIDE_OVER_PADDING, width // _SIDE_OVER_PADDING
    tops_N = torch.randint(0, 2 * pad_h + 1, (count,), generator=generator)
    lefts_N = torch.randint(0, 2 * pad_w + 1, (count,), generator=generator)
    flips_N = torch.rand(count, generator=generator) < 0.5
    rows_NH = tops_N[:, None] + torch.arange(height)
    columns_NW = lefts_N[:, None] + torch.arange(width)
    columns_NW = torch.where(flips_N[:, None], columns_NW.flip(1), columns_NW)
    padded = F.pad(planes, [pad_w, pad_w, pad_h, pad_h])
    crops_NHWC = padded[torch.arange(count)[:, None, None], :, rows_NH[:, :, None], columns_NW[:, None, :]]
    return crops_NHWC.permute(0, 3, 1, 2).contiguous()
