"""Training and causal evaluation of the language model, for both papers.

Legend: B sequences, T positions, N tokens, E experts, L MoE layers.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from moe_replication.config.run import RunConfig
from moe_replication.data.batches import LanguageBatches
from moe_replication.data.shards import TokenShards
from moe_replication.distributed import mean_over_ranks, rank, world_size
from moe_replication.errors import BadInput
from moe_replication.models.gpt import GPT, GPTOutput
from moe_replication.seeding import torch_generator
from moe_replication.training import routing_statistics
from moe_replication.training.ecology_step import language_losses
from moe_replication.training.task import Batch, LossOutput, Task, census_row, ecology_parts, first_choice


class LanguageTask(Task):
    """Next-token prediction over token shards; the horizon is in tokens (paper A) or epochs (paper B)."""

    unit = "tokens"

    def __init__(self, config: RunConfig, data_folder: Path, seed: int) -> None:
        super().__init__(config, seed)
        # The record names the data by their hash: one process reads them whole and compares.
        shards = TokenShards.open(data_folder, verify=rank() == 0)
        if shards.vocab_size > config.data.vocab_size:
            raise BadInput(
                f"{data_folder}: vocabulary {shards.vocab_size} exceeds data.vocab_size {config.data.vocab_size}"
            )
        self.data_sha256 = shards.sha256
        length, batch = config.data.sequence_length, config.training.batch_size
        self.batches = LanguageBatches(shards.split("train"), length, batch, seed)
        self.validation = _validation_batches(
            shards, length, config.training.micro_batch_size, config.engine.world_size
        )
        if config.training.epochs is None:
            self.steps = config.training.tokens // (length * batch)
            self.steps_per_epoch = None
            self.evaluate_every = config.training.evaluate_every
            self.checkpoint_every = config.training.checkpoint_every
        else:
            self.set_epochs(self.batches.windows // batch)
        self.samples_per_step = length * batch
        self.model = GPT(config)
        self.start()

    def micro_batches(self, step: int) -> list[Batch]:
        """This rank's windows of one optimiser step."""
        inputs, targets = self.batches.batch(step)
        micro, mine = self.config.training.micro_batch_size, []
        for index in range(self.config.accumulation):
            first = (index * world_size() + rank()) * micro
            rows = slice(first, first + micro)
            chosen = self._tensor(inputs[rows]), self._tensor(targets[rows])
            mine.append(Batch(inputs=chosen[0], targets=chosen[1], first=first * inputs.shape[1]))
        return mine

    def loss(self, batch: Batch, step: int) -> LossOutput:
        """Mean cross-entropy plus the auxiliary and ecology terms."""
        inputs, targets = batch.inputs, batch.targets
        context = self.context(step, batch.first, inputs.numel(), self.config.pool_tokens)
        output: GPTOutput = self.forward_model(inputs, context)
        task_loss = self.model.mean_loss(output.hidden_BTD, targets)
        loss, parts = task_loss, {"loss_task": task_loss.detach()}
        for routed in output.routing:
            if routed.selection.aux_loss is not None:
                loss = loss + routed.selection.aux_loss
        if self.config.ecology is not None:
            ecology = self.config.ecology
            generator = torch_generator(self.seed, f"oracle/{step}/{batch.first}")
            size = min(ecology.oracle_tokens, targets.numel())
            sample = torch.randperm(targets.numel(), generator=generator)[:size].to(targets.device)
            terms = language_losses(self.model, output.routing, targets.flatten(), sample, ecology, context.temperature)
            extra, ecology_metrics = ecology_parts(terms, ecology)
            loss, parts = loss + extra, parts | ecology_metrics
            self.count_assigned(output.routing)
        return LossOutput(loss=loss, train_loss=task_loss.detach(), parts=parts, routing=output.routing)

    @torch.no_grad()
    def evaluate(self, step: int) -> tuple[dict[str, float], list[dict]]:
        """Validation cross-entropy by the causal protocol, with the routing it used; ranks share the windows."""
        if self.config.ecology is not None:
            return self._evaluate_census(step)
        layers, sums = self.model.moe_layers(), None
        for inputs, targets in self.validation[rank() :: world_size()]:
            inputs, targets = self._tensor(inputs), self._tensor(targets)
            output: GPTOutput = self.forward_model(inputs, self.evaluation_context(inputs.numel()))
            losses = self.model.token_losses(output.hidden_BTD, targets)
            found = [torch.ones(1, device=self.device), losses.double().mean()[None]]
            if layers:
                found += [routing_statistics.zero_expert_share(output.routing)[None]]
                found += [routing_statistics.usage(output.routing).flatten()]
            weighted = torch.cat([part.double() for part in found]) * len(losses)
            sums = weighted if sums is None else sums + weighted
        count, loss, *routing = mean_over_ranks(sums)
        row = {"val_loss": (loss / count).item()}
        if layers:
            zero, usage_LE = routing[0], torch.stack(routing[1:]).view(len(layers), -1) / count
            row |= {
                "evaluation_usage_mean": usage_LE.mean().item(),
                "evaluation_fanout_mean": usage_LE.sum(dim=1).mean().item(),
                "evaluation_load_max_over_mean": routing_statistics.max_over_mean(usage_LE),
                "zero_expert_share": (zero / count).item(),
            }
        return row, []

    def training_row(self, done: int, output: LossOutput) -> tuple[dict[str, float], list[dict]]:
        """Routing of the last forward pass of a logged step."""
        if self.config.ecology is not None:
            return self.ecology_row(done), []
        if not output.routing:
            return {}, []
        rows = routing_statistics.expert_rows(done, output.routing, self.model.moe_layers())
        row = routing_statistics.routing_row(output.routing)
        return row | {"warming_up": float(self.warming_up(done - 1))}, rows

    def final_metrics(self, curve: list[dict], experts: list[dict]) -> dict[str, float]:
        """Metrics of the record from the finished curve."""
        metrics = self.last(curve, "val_loss", "zero_expert_share")
        metrics["train_loss"] = self.final_train_loss(curve)
        metrics["generalization_gap"] = metrics["val_loss"] - metrics["train_loss"]
        metrics["perplexity"] = math.exp(min(metrics["val_loss"], 700.0))
        if self.config.ecology is not None:
            return metrics | self.census_metrics(curve)
        prefix = "evaluation_"
        routing = self.last(curve, *(prefix + name for name in ("usage_mean", "fanout_mean", "load_max_over_mean")))
        metrics |= {name.removeprefix(prefix): value for name, value in routing.items()}
        metrics |= self.last_half_means(curve, "saturation", "starvation")
        return metrics | self._batch_spreads(experts)

    def _batch_spreads(self, experts: list[dict]) -> dict[str, float]:
        """Figure 3's numbers: deviation over logged batches of the last half, averaged over layers and experts."""
        late = [row for row in experts if row["step"] > self.steps / 2]
        spreads = {}
        for name, column in (("usage_std", "usage"), ("cutoff_std", "cutoff_deviation")):
            if late and late[0][column] is not None:
                columns = len({(row["layer"], row["expert"]) for row in late})
                spreads[name] = float(np.reshape([row[column] for row in late], (-1, columns)).std(axis=0).mean())
        return spreads

    def _evaluate_census(self, step: int) -> tuple[dict[str, float], list[dict]]:
        """Validation loss and census of paper B: every token's first choice, so every rank takes the whole split."""
        losses, top1, assigned_LE = [], [], 0
        for inputs, targets in self.validation:
            inputs, targets = self._tensor(inputs), self._tensor(targets)
            output: GPTOutput = self.forward_model(inputs, self.evaluation_context(inputs.numel()))
            losses.append(self.model.token_losses(output.hidden_BTD, targets))
            top1.append(torch.stack([first_choice(routed) for routed in output.routing]))
            assigned_LE += torch.stack([routed.selection.mask_NE.sum(dim=0) for routed in output.routing])
        row = {"val_loss": torch.cat(losses).double().mean().item()} | self.ecology_row(step)
        top1_LN = torch.cat(top1, dim=1).cpu().numpy()
        found, usage_LE = census_row(top1_LN, assigned_LE.cpu().numpy(), self.config, self.silence)
        return row | found, self._expert_rows(usage_LE, step)

    def _expert_rows(self, usage_LE: np.ndarray, step: int) -> list[dict]:
        tiers = self.config.moe.tier_of_expert
        return [
            {
                "step": step,
                "epoch": self.epoch(step),
                "layer": layer,
                "expert": expert,
                "tier": tiers[expert],
                "usage": share,
            }
            for layer, usage_E in enumerate(usage_LE.tolist())
            for expert, share in enumerate(usage_E)
        ]

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.device)


def _validation_batches(shards: TokenShards, length: int, size: int, ranks: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every window of the validation split once, in order, in batches of at most `size`, one or more for every rank."""
    tokens = shards.split("validation")
    starts = np.arange((len(tokens) - 1) // length) * length
    batches = []
    for part in np.array_split(starts, max(-(-len(starts) // size), min(ranks, len(starts)))):
        rows = np.stack([tokens[start : start + length + 1] for start in part.tolist()]).astype(np.int64)
        batches.append((rows[:, :-1].copy(), rows[:, 1:].copy()))
    return batches
