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
from moe_replication.ecology.hard_samples import hard_sample_ratio
from moe_replication.models.tiered_moe import TieredMoEClassifier
from moe_replication.seeding import torch_generator
from moe_replication.training.ecology_step import vision_losses
from moe_replication.training.task import Batch, LossOutput, Task, census_row, ecology_parts, first_choice

_TEST_BATCH = 512


class VisionTask(Task):
    """Image classification; the horizon is in epochs."""

    unit = "images"

    def __init__(self, config: RunConfig, data_folder: Path, seed: int) -> None:
        super().__init__(config, seed)
        images = ImageSet.open(data_folder)
        self.data_sha256 = images.sha256
        self.images = ImageInput(images, config.data)
        self.order = ImageBatches(self.images.train_count, config.training.batch_size, seed)
        self.samples_per_step = config.training.batch_size
        self.set_epochs(len(self.order.epoch(0)))
        self.model = TieredMoEClassifier(config, self.images.channels, self.images.classes)
        self.start()

    def micro_batches(self, step: int) -> list[Batch]:
        """This rank's images of one optimiser step."""
        epoch, index = divmod(step, self.steps_per_epoch)
        parts = np.array_split(self.order.epoch(epoch)[index], self.config.accumulation * world_size())
        firsts = accumulate((len(part) for part in parts), initial=0)
        mine = list(zip(parts, firsts, strict=False))[rank() :: world_size()]
        return [self._batch(part, first, step) for part, first in mine if len(part)]

    def loss(self, batch: Batch, step: int) -> LossOutput:
        """Cross-entropy plus paper B's terms."""
        ecology, count = self.config.ecology, len(batch.inputs)
        context = self.context(step, batch.first, count, pool_tokens=count)
        output = self.forward_model(batch.inputs, context)
        task_loss = F.cross_entropy(output.y, batch.targets)
        terms = vision_losses(self.model, output, batch.targets, ecology, context.temperature)
        extra, parts = ecology_parts(terms, ecology)
        self.count_assigned([output])
        parts["loss_task"] = task_loss.detach()
        return LossOutput(loss=task_loss + extra, train_loss=task_loss.detach(), parts=parts, routing=[output])

    @torch.no_grad()
    def evaluate(self, step: int) -> tuple[dict[str, float], list[dict]]:
        """Accuracy, loss and census over the whole test set at the evaluation temperature."""
        self.model.eval()
        losses, correct, top1, norms, assigned_E = [], [], [], [], 0
        indices = np.arange(self.images.test_count)
        for part in np.array_split(indices, -(-len(indices) // _TEST_BATCH)):
            images, labels = self._to_device(self.images.test(part))
            context = self.evaluation_context(len(images))
            output = self.forward_model(images, context)
            losses.append(F.cross_entropy(output.y, labels, reduction="none"))
            correct.append(output.y.argmax(dim=1) == labels)
            top1.append(first_choice(output))
            norms.append(self.model.feature_gradient_norms(output.x_ND, labels, context))
            assigned_E += output.selection.mask_NE.sum(dim=0)
        self.model.train()
        losses_N, hits_N, top1_N, norms_N = (torch.cat(part).cpu().numpy() for part in (losses, correct, top1, norms))
        row = {"test_accuracy": float(hits_N.mean()), "test_loss": float(losses_N.mean(dtype=np.float64))}
        row |= self.ecology_row(step)
        row["hard_sample_gradient"] = hard_sample_ratio(losses_N, norms_N, self.config.census.hard_share)
        return self._census(row, top1_N, hits_N, assigned_E.cpu().numpy(), step)

    def training_row(self, done: int, output: LossOutput) -> tuple[dict[str, float], list[dict]]:
        """Temperature and E of the step."""
        return self.ecology_row(done), []

    def final_metrics(self, curve: list[dict], experts: list[dict]) -> dict[str, float]:
        """Metrics of the record from the finished curve."""
        metrics = self.last(curve, "test_accuracy", "test_loss") | self.census_metrics(curve)
        return metrics | {"train_loss": self.final_train_loss(curve)}

    def _census(
        self, row: dict, top1_N: np.ndarray, hits_N: np.ndarray, assigned_E: np.ndarray, step: int
    ) -> tuple[dict, list[dict]]:
        config = self.config
        usage_E = census.usage_shares(top1_N, config.moe.experts)
        accuracy_E = census.expert_accuracy(top1_N, hits_N, config.moe.experts)
        classes = [census.taxonomy(u, a, config.census) for u, a in zip(usage_E, accuracy_E, strict=True)]
        row |= census_row(usage_E[None], assigned_E[None], config, self.silence)
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

    def _batch(self, indices: np.ndarray, first: int, step: int) -> Batch:
        generator = torch_generator(self.seed, f"augmentation/{step}/{first}")
        images, labels = self._to_device(self.images.train(indices, generator))
        return Batch(inputs=images, targets=labels, first=first)

    def _to_device(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        dtype = next(self.model.parameters()).dtype
        return batch[0].to(self.device, dtype), batch[1].to(self.device)
