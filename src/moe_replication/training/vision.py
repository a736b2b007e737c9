"""Training and census of paper B's vision model.

Legend: N images, E experts, Y classes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from moe_replication.config.run import RunConfig
from moe_replication.data.batches import ImageBatches
from moe_replication.data.images import ImageSet
from moe_replication.distributed import rank, world_size
from moe_replication.ecology import census
from moe_replication.ecology.control_number import temperature_at
from moe_replication.models.tiered_moe import TieredMoEClassifier
from moe_replication.routing import RoutingContext
from moe_replication.seeding import torch_generator
from moe_replication.training.ecology_step import vision_losses
from moe_replication.training.task import LossOutput, Task, census_row, ecology_parts

_CROP_PADDING = 4


class VisionTask(Task):
    """Image classification; the horizon is in epochs."""

    unit = "images"

    def __init__(self, config: RunConfig, data_folder: Path, seed: int) -> None:
        super().__init__(config, seed)
        images = ImageSet.open(data_folder)
        self.data_sha256 = images.sha256
        self.images = images
        self.mean = torch.tensor(images.mean, dtype=torch.float32).view(1, -1, 1, 1)
        self.std = torch.tensor(images.std, dtype=torch.float32).view(1, -1, 1, 1)
        self.order = ImageBatches(len(images.train_images), config.training.batch_size, seed)
        self.samples_per_step = config.training.batch_size
        self.set_epochs(len(self.order.epoch(0)))
        self.model = TieredMoEClassifier(config, images.train_images.shape[-1], images.classes)
        self.start()

    def micro_batches(self, step: int) -> list[tuple[Tensor, Tensor]]:
        """This rank's (images, labels) of one optimiser step, one pair a forward pass."""
        epoch, index = divmod(step, self.steps_per_epoch)
        chosen = self.order.epoch(epoch)[index]
        parts = np.array_split(chosen, self.config.accumulation * world_size())[rank() :: world_size()]
        generator = torch_generator(self.seed, f"augmentation/{step}")
        return [self._batch(part, generator) for part in parts if len(part)]

    def loss(self, batch: tuple[Tensor, Tensor], step: int) -> LossOutput:
        """Cross-entropy plus paper B's terms."""
        images, labels = batch
        ecology = self.config.ecology
        temperature = temperature_at(ecology, step / self.steps)
        context = RoutingContext(
            training=True, pool_tokens=len(images), temperature=temperature,
            random_logits_NE=self.random_logits(step, len(images)),
        )  # fmt: skip
        output = self.forward_model(images, context)
        task_loss = F.cross_entropy(output.y, labels)
        terms = vision_losses(self.model, output, labels, ecology, temperature)
        extra, parts = ecology_parts(terms, ecology)
        self.count_silence([output])
        parts["loss_task"] = task_loss.detach()
        return LossOutput(loss=task_loss + extra, train_loss=task_loss.detach(), parts=parts, routing=[output])

    @torch.no_grad()
    def evaluate(self, step: int) -> tuple[dict[str, float], list[dict]]:
        """Accuracy, loss and census over the whole test set at the evaluation temperature."""
        self.model.eval()
        losses, correct, top1 = [], [], []
        indices = np.arange(len(self.images.test_images))
        for part in np.array_split(indices, -(-len(indices) // 512)):
            images, labels = self._tensors(self.images.test_images[part], self.images.test_labels[part])
            output = self.forward_model(images, self.evaluation_context(len(images)))
            losses.append(F.cross_entropy(output.y, labels, reduction="none"))
            correct.append(output.y.argmax(dim=1) == labels)
            top1.append(output.logits_NE.argmax(dim=1))
        self.model.train()
        hits = torch.cat(correct).cpu().numpy()
        row = {"test_accuracy": float(hits.mean()), "test_loss": torch.cat(losses).double().mean().item()}
        return self._census(row, torch.cat(top1).cpu().numpy(), hits, step)

    def training_row(self, done: int, output: LossOutput) -> tuple[dict[str, float], list[dict]]:
        """Temperature and E of the step."""
        return self.ecology_row(done), []

    def final_metrics(self, curve: list[dict], experts: list[dict]) -> dict[str, float]:
        """Metrics of the record from the finished curve."""
        metrics = self.last(curve, "test_accuracy", "test_loss") | self.census_metrics(curve)
        return metrics | {"train_loss": self.final_train_loss(curve)}

    def _census(self, row: dict, top1_N: np.ndarray, hits_N: np.ndarray, step: int) -> tuple[dict, list[dict]]:
        config = self.config
        usage_E = census.usage_shares(top1_N, config.moe.experts)
        accuracy_E = census.expert_accuracy(top1_N, hits_N, config.moe.experts)
        classes = [census.taxonomy(u, a, config.census) for u, a in zip(usage_E, accuracy_E, strict=True)]
        row |= census_row(usage_E[None], config, self.silence)
        row |= {f"taxonomy_{name}": float(classes.count(name)) for name in census.TAXONOMY}
        rows = [
            {
                "step": step,
                "epoch": self.epoch(step),
                "layer": 0,
                "expert": expert,
                "tier": tier,
                "usage": float(usage_E[expert]),
                "accuracy": None if np.isnan(accuracy_E[expert]) else float(accuracy_E[expert]),
                "taxonomy": classes[expert],
            }
            for expert, tier in enumerate(config.moe.tier_of_expert)
        ]
        return row, rows

    def _batch(self, indices: np.ndarray, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        images, labels = self._tensors(self.images.train_images[indices], self.images.train_labels[indices])
        if self.config.data.augmentation == "standard":
            images = _padded_crop_and_flip(images, generator)
        return images, labels

    def _tensors(self, images_NHWC: np.ndarray, labels_N: np.ndarray) -> tuple[Tensor, Tensor]:
        # Planes copied to NCHW: with channels last, oneDNN's backward corrupts memory at 4 channels (AVX2).
        planes = np.ascontiguousarray(images_NHWC.transpose(0, 3, 1, 2), dtype=np.float32)
        images = (torch.from_numpy(planes) / 255.0 - self.mean) / self.std
        dtype = next(self.model.parameters()).dtype
        return images.to(self.device, dtype), torch.from_numpy(np.ascontiguousarray(labels_N)).to(self.device)


def _padded_crop_and_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random crop of the zero-padded image and horizontal flip, each image by itself."""
    height, width = images.shape[2:]
    padded = F.pad(images, [_CROP_PADDING] * 4)
    offsets = torch.randint(0, 2 * _CROP_PADDING + 1, (len(images), 2), generator=generator).tolist()
    flips = (torch.rand(len(images), generator=generator) < 0.5).tolist()
    crops = [padded[i, :, top : top + height, left : left + width] for i, (top, left) in enumerate(offsets)]
    return torch.stack([crop.flip(-1) if flip else crop for crop, flip in zip(crops, flips, strict=True)])
