"""What language and vision training share: the interface that the loop drives, and the census bookkeeping."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from moe_replication.config.run import RunConfig
from moe_replication.config.sections import EcologyConfig
from moe_replication.distributed import mean_over_ranks
from moe_replication.ecology import census
from moe_replication.ecology.control_number import control_number, temperature_at
from moe_replication.ecology.losses import RoutingLosses
from moe_replication.layers.moe import MoELayer, MoEOutput
from moe_replication.routing import RoutingContext
from moe_replication.seeding import torch_generator


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One forward pass: inputs and targets, from sample `first` of the optimiser step's batch on.

    `weight` is its share of the batch times the number of passes: 1 where all passes are equal.
    """

    inputs: Tensor
    targets: Tensor
    first: int
    weight: float = 1.0


@dataclass(kw_only=True)
class LossOutput:
    """One forward pass: `loss` to differentiate, `train_loss` the task's own, `parts` detached scalars."""

    loss: Tensor
    train_loss: Tensor
    parts: dict[str, Tensor]
    routing: list[MoEOutput]


class Task(ABC):
    """Data, model and losses of one run. Subclasses set model, steps, samples_per_step, data_sha256."""

    unit: str
    model: nn.Module
    steps: int
    steps_per_epoch: int | None
    evaluate_every: int
    checkpoint_every: int
    samples_per_step: int
    data_sha256: str

    def __init__(self, config: RunConfig, seed: int) -> None:
        self.config, self.seed = config, seed
        self.device = torch.device("cpu")
        self.forward_model: nn.Module | None = None
        self.silence: census.SilenceCounter | None = None
        self._assigned: Tensor | None = None

    @abstractmethod
    def micro_batches(self, step: int) -> list[Batch]:
        """This rank's batches of one optimiser step, one a forward pass."""

    @abstractmethod
    def loss(self, batch: Batch, step: int) -> LossOutput:
        """Forward pass and losses."""

    @abstractmethod
    def evaluate(self, step: int) -> tuple[dict[str, float], list[dict]]:
        """Curve columns and expert rows after `step` steps."""

    @abstractmethod
    def training_row(self, done: int, output: LossOutput) -> tuple[dict[str, float], list[dict]]:
        """Curve columns and expert rows of the logged step that `output` comes from, the `done`-th."""

    @abstractmethod
    def final_metrics(self, curve: list[dict], experts: list[dict]) -> dict[str, float]:
        """Metrics of the run record."""

    def start(self) -> None:
        """Initial weights, and the silence counter where the census is taken."""
        self.model.initialize(self.seed)
        if self.config.ecology is not None:
            self.silence = census.SilenceCounter(len(self.model.moe_layers()), self.config.moe.experts)

    def set_epochs(self, steps_per_epoch: int) -> None:
        """Horizon, evaluation and checkpoints counted in epochs."""
        training = self.config.training
        self.steps_per_epoch = steps_per_epoch
        self.steps = training.epochs * steps_per_epoch
        self.evaluate_every = training.evaluate_every * steps_per_epoch
        self.checkpoint_every = training.checkpoint_every * steps_per_epoch

    def use(self, forward_model: nn.Module, device: torch.device) -> None:
        """Run forward passes through `forward_model` (the engine's wrapper) on `device`."""
        self.forward_model, self.device = forward_model, device
        for layer in self.moe_layers():
            layer.state.to(device)

    def moe_layers(self) -> list[MoELayer]:
        """MoE layers of the model, first to last."""
        return self.model.moe_layers()

    def epoch(self, step: int) -> float | None:
        """Epochs done after `step` steps."""
        return step / self.steps_per_epoch if self.steps_per_epoch else None

    def evaluation_context(self, samples: int) -> RoutingContext:
        """Causal circumstances: no warm-up, no random routing, the census's temperature."""
        temperature = self.config.routing.evaluation_temperature
        return RoutingContext(training=False, pool_tokens=samples, temperature=temperature)

    def context(self, step: int, first: int, samples: int, pool_tokens: int) -> RoutingContext:
        """Training circumstances of `samples` samples from the step's `first` on."""
        ecology = self.config.ecology
        return RoutingContext(
            training=True, pool_tokens=pool_tokens, warming_up=self.warming_up(step),
            temperature=temperature_at(ecology, step / self.steps) if ecology else 1.0,
            random_logits_LNE=self.random_logits(step, first, samples),
        )  # fmt: skip

    def warming_up(self, step: int) -> bool:
        """Whether expert threshold still selects by expert choice."""
        routing = self.config.routing
        return routing.rule == "expert_threshold" and step < round(routing.warmup_fraction * self.steps)

    def random_logits(self, step: int, first: int, samples: int) -> Tensor | None:
        """Scores (L, N, E) that route at random during the random warm-up of paper B, else None.

        Drawn for the whole step and every layer, so that neither ranks nor passes nor layers repeat each other's.
        """
        ecology = self.config.ecology
        if ecology is None or step >= ecology.random_warmup_fraction * self.steps:
            return None
        drawn = []
        for layer in range(len(self.moe_layers())):
            generator = torch_generator(self.seed, f"random-routing/{step}/{layer}")
            drawn_NE = torch.rand(self.samples_per_step, self.config.moe.experts, generator=generator)
            drawn.append(drawn_NE[first : first + samples])
        return torch.stack(drawn).to(self.device)

    def count_assigned(self, routing: list[MoEOutput]) -> None:
        """Take in one training pass's assignments."""
        counts_LE = torch.stack([output.selection.mask_NE.sum(dim=0) for output in routing])
        self._assigned = counts_LE if self._assigned is None else self._assigned + counts_LE

    def end_step(self) -> None:
        """After the passes of an optimiser step: experts that got nothing on any rank were silent."""
        if self.silence is not None:
            self.silence.add(mean_over_ranks(self._assigned.float()).cpu().numpy())
            self._assigned = None

    def state_dict(self) -> dict:
        """Routing states and counters for the checkpoint; data order needs none, it is a function of the step."""
        return {
            "routing": [layer.state.state_dict() for layer in self.moe_layers()],
            "silence": self.silence.state_dict() if self.silence else None,
        }

    def load_state_dict(self, saved: dict) -> None:
        """Restore what `state_dict` gave."""
        for layer, state in zip(self.moe_layers(), saved["routing"], strict=True):
            layer.state.load_state_dict(state)
        if self.silence:
            self.silence.load_state_dict(saved["silence"])

    def ecology_row(self, done: int) -> dict[str, float | None]:
        """Temperature and E of the `done`-th step."""
        ecology = self.config.ecology
        temperature = temperature_at(ecology, (done - 1) / self.steps)
        weights = (ecology.entropy_weight, ecology.oracle_weight, ecology.balance_weight)
        return {"temperature": temperature, "control_number": control_number(temperature, *weights)}

    def last(self, curve: list[dict], *names: str) -> dict[str, float]:
        """Last measured value of each column that was ever measured."""
        found = {}
        for row in curve:
            found |= {name: row[name] for name in names if row.get(name) is not None}
        return found

    def final_train_loss(self, curve: list[dict]) -> float:
        """Mean of the training loss over the last tenth of the horizon."""
        rows = [row for row in curve if row.get("train_loss") is not None]
        late = [row["train_loss"] for row in rows if row["step"] > 0.9 * self.steps] or [rows[-1]["train_loss"]]
        return float(np.mean(late))

    def last_half_means(self, curve: list[dict], *names: str) -> dict[str, float]:
        """Mean of each column over the last half of the horizon, where it was measured."""
        late = [row for row in curve if row["step"] > self.steps / 2]
        values = {name: [row[name] for row in late if row.get(name) is not None] for name in names}
        return {name: float(np.mean(found)) for name, found in values.items() if found}

    def census_metrics(self, curve: list[dict]) -> dict[str, float]:
        """Last census, and the largest number of dead experts on the way."""
        names = {name for row in curve for name in row if name.startswith(_CENSUS_PREFIXES)}
        peak = max(row["dead_experts"] for row in curve if row.get("dead_experts") is not None)
        return self.last(curve, *sorted(names)) | {"dead_experts_peak": peak}


_CENSUS_PREFIXES = (
    "dead_experts",
    "active_experts",
    "silent_experts",
    "usage_entropy",
    "zero_expert_share",
    "tier_share_",
    "taxonomy_",
    "hard_sample_gradient",
)


def ecology_parts(terms: RoutingLosses, config: EcologyConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """Sum of the weighted terms, and every term unweighted and weighted for the curve."""
    weighted = terms.weighted(config)
    parts = {f"loss_{name}": getattr(terms, name).detach() for name in weighted}
    parts |= {f"weighted_loss_{name}": value.detach() for name, value in weighted.items()}
    return sum(weighted.values()), parts


def first_choice(output: MoEOutput) -> Tensor:
    """The chosen expert with the largest logit, hence the largest gate, of every sample (N,); -1 where none is."""
    mask_NE = output.selection.mask_NE
    best_N = output.logits_NE.masked_fill(~mask_NE, -torch.inf).argmax(dim=1)
    return torch.where(mask_NE.any(dim=1), best_N, -1)


def census_row(
    top1_LN: np.ndarray, assigned_LE: np.ndarray, config: RunConfig, silence: census.SilenceCounter
) -> tuple[dict[str, float], np.ndarray]:
    """Census columns, and the usage shares (L, E) behind them.

    With several layers the worst layer's dead and silent experts, the mean of shares and entropy.
    """
    usage_LE = np.stack([census.usage_shares(top1_N, config.moe.experts) for top1_N in top1_LN])
    pairs = zip(usage_LE, assigned_LE, strict=True)
    counts = [census.dead_counts(usage_E, assigned_E, config.census) for usage_E, assigned_E in pairs]
    row = {name: max(count[name] for count in counts) for name in counts[0] if name != "active_experts"}
    row["active_experts"] = min(count["active_experts"] for count in counts)
    row["silent_experts"] = float(silence.silent_experts(config.census.silent_batches))
    row["zero_expert_share"] = float((top1_LN < 0).mean())
    row["usage_entropy"] = float(np.mean([census.usage_entropy(usage_E) for usage_E in usage_LE]))
    shares = np.mean([census.tier_shares(usage_E, config.moe.tier_of_expert) for usage_E in usage_LE], axis=0)
    return row | {f"tier_share_{tier}": float(share) for tier, share in enumerate(shares)}, usage_LE
