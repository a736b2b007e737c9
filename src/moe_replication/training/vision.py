"""Training and census of paper B's vision model.

Legend: N images, E experts.
"""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from moe_replication.config.run import RunConfig
from moe_replication.data.batches import ImageBatches
from moe_replication.data.image_input import ImageInput
from moe_replication.data.images import ImageSet
from moe_replication.distributed import rank, world_size
from moe_replication.ecology import census
from moe_replication.errors import BadInput
from moe_replication.models.tiered_moe import TieredMoEClassifier
from moe_replication.seeding import torch_generator
from moe_replication.training.ecology_step import vision_losses
from moe_replication.training.image_census import ImageCensus, image_batches
from moe_replication.training.task import Batch, LossOutput, Task, census_row, ecology_parts


class VisionTask(Task):
    """Image classification; the horizon is in epochs."""

    unit = "images"

    def __init__(self, config: RunConfig, data_folder: Path, seed: int) -> None:
        super().__init__(config, seed)
        images = ImageSet.open(data_folder, verify=rank() == 0)
        self.data_sha256 = images.sha256
        self.images = ImageInput(images, config.data)
        self.order = ImageBatches(self.images.train_count, config.training.batch_size, seed)
        self.samples_per_step = config.training.batch_size
        self._check_last_batch()
        self.set_epochs(len(self.order.epoch(0)))
        self.model = TieredMoEClassifier(config, self.images.channels, self.images.classes)
        self.start()

    def micro_batches(self, step: int) -> list[Batch]:
        """This rank's images of one optimiser step."""
        epoch, index = divmod(step, self.steps_per_epoch)
        chosen, passes = self.order.epoch(epoch)[index], self._passes
        parts = np.array_split(chosen, passes)
        firsts = accumulate((len(part) for part in parts), initial=0)
        mine = list(zip(parts, firsts, strict=False))[rank() :: world_size()]
        return [self._batch(part, first, step, len(part) * passes / len(chosen)) for part, first in mine]

    def loss(self, batch: Batch, step: int) -> LossOutput:
        """Cross-entropy plus paper B's terms, weighted by the pass's share of the batch."""
        ecology, count = self.config.ecology, len(batch.inputs)
        context = self.context(step, batch.first, count, pool_tokens=count)
        output = self.forward_model(batch.inputs, context)
        task_loss = F.cross_entropy(output.y, batch.targets)
        terms = vision_losses(self.model, output, batch.targets, ecology, context.temperature)
        extra, parts = ecology_parts(terms, ecology)
        self.count_assigned([output])
        parts["loss_task"] = task_loss.detach()
        loss, train_loss = (task_loss + extra) * batch.weight, task_loss.detach() * batch.weight
        return LossOutput(loss=loss, train_loss=train_loss, parts=parts, routing=[output])

    @torch.no_grad()
    def evaluate(self, step: int) -> tuple[dict[str, float], list[dict]]:
        """Accuracy, loss and census over the whole test set at the evaluation temperature."""
        self.model.eval()
        seen, assigned_E = ImageCensus(), 0
        for batch in image_batches(self.images):
            images, labels = self._to_device(batch)
            context = self.evaluation_context(len(images))
            output = self.forward_model(images, context)
            seen.add(self.model, output, labels, context)
            assigned_E += output.selection.mask_NE.sum(dim=0)
        seen.finish()
        self.model.train()
        row = {"test_accuracy": seen.accuracy, "test_loss": seen.loss} | self.ecology_row(step)
        row["hard_sample_gradient"] = seen.hard_sample_gradient(self.config.census.hard_share)
        found, rows = self._census(seen, assigned_E.cpu().numpy(), step)
        return row | found, rows

    def training_row(self, done: int, output: LossOutput) -> tuple[dict[str, float], list[dict]]:
        """Temperature and E of the step."""
        return self.ecology_row(done), []

    def final_metrics(self, curve: list[dict], experts: list[dict]) -> dict[str, float]:
        """Metrics of the record from the finished curve."""
        metrics = self.last(curve, "test_accuracy", "test_loss") | self.census_metrics(curve)
        return metrics | {"train_loss": self.final_train_loss(curve)}

    def _census(self, seen: ImageCensus, assigned_E: np.ndarray, step: int) -> tuple[dict, list[dict]]:
        config = self.config
        row, (usage_E,) = census_row(seen.top1_N[None], assigned_E[None], config, self.silence)
        accuracy_E = census.expert_accuracy(seen.top1_N, seen.hits_N, config.moe.experts)
        classes = [census.taxonomy(u, a, config.census) for u, a in zip(usage_E, accuracy_E, strict=True)]
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

    @property
    def _passes(self) -> int:
        """Forward passes of one optimiser step over all processes."""
        return self.config.accumulation * world_size()

    def _check_last_batch(self) -> None:
        """BadInput where an epoch's last batch has fewer images than a step has passes: DeepSpeed counts passes."""
        training = self.config.training
        left = self.images.train_count % training.batch_size or training.batch_size
        if left < self._passes:
            raise BadInput(
                f"training.micro_batch_size = {training.micro_batch_size}: a batch of {training.batch_size} takes"
                f" {self._passes} forward passes, but {left} image(s) are left for the last of an epoch of"
                f" {self.images.train_count}; raise micro_batch_size, or change batch_size or data.train_images"
            )

    def _batch(self, indices: np.ndarray, first: int, step: int, weight: float) -> Batch:
        generator = torch_generator(self.seed, f"augmentation/{step}/{first}")
        images, labels = self._to_device(self.images.train(indices, generator))
        return Batch(inputs=images, targets=labels, first=first, weight=weight)

    def _to_device(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        dtype = next(self.model.parameters()).dtype
        return batch[0].to(self.device, dtype), batch[1].to(self.device)
