"""What paper B's census sees of the test images, in training and on finished weights.

Legend: N test images.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from moe_replication.data.image_input import ImageInput
from moe_replication.ecology.hard_samples import hard_sample_ratio
from moe_replication.layers.moe import MoEOutput
from moe_replication.models.tiered_moe import TieredMoEClassifier
from moe_replication.routing import RoutingContext
from moe_replication.training.task import first_choice

_BATCH = 512


def image_batches(images: ImageInput) -> Iterator[tuple[Tensor, Tensor]]:
    """Every test image once, in order: planes (float32) and labels."""
    count = images.test_count
    return (images.test(part) for part in np.array_split(np.arange(count), -(-count // _BATCH)))


class ImageCensus:
    """Loss, hit, first choice and gradient norm of every test image, gathered over passes."""

    def __init__(self) -> None:
        self._parts: list[tuple[Tensor, ...]] = []

    def add(self, model: TieredMoEClassifier, output: MoEOutput, labels_N: Tensor, context: RoutingContext) -> None:
        """Take in one pass; its `y` are class logits in float32."""
        losses_N = F.cross_entropy(output.y, labels_N, reduction="none")
        norms_N = model.feature_gradient_norms(output.x_ND, labels_N, context)
        self._parts.append((losses_N, output.y.argmax(dim=1) == labels_N, first_choice(output), norms_N))

    def finish(self) -> None:
        """Join the passes; the columns are there from now on."""
        self.losses_N, self.hits_N, self.top1_N, self.norms_N = (
            torch.cat(column).cpu().numpy() for column in zip(*self._parts, strict=True)
        )

    @property
    def accuracy(self) -> float:
        """Share of images classified rightly."""
        return float(self.hits_N.mean())

    @property
    def loss(self) -> float:
        """Mean cross-entropy in nats."""
        return float(self.losses_N.mean(dtype=np.float64))

    def hard_sample_gradient(self, share: float) -> float | None:
        """How much harder than all images the `share` with the highest loss pull; None where none pulls."""
        return hard_sample_ratio(self.losses_N, self.norms_N, share)
