"""The plain reference's training loop, with Muon as torch ships it or written out in float32."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon

from benchmarks.plain import PlainGPT
from moe_replication.config.run import RunConfig
from moe_replication.config.sections import MuonConfig
from moe_replication.data.batches import LanguageBatches
from moe_replication.training.schedules import linear_decay, linear_warmup

NEWTON_SCHULZ = ((3.4445, -4.7750, 2.0315),) * 5


class FloatMuon(torch.optim.Optimizer):
    """Muon with Nesterov momentum, float32 throughout, matrix by matrix."""

    def __init__(self, parameters: list[nn.Parameter], lr: float, momentum: float) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                mean = self.state[weight].setdefault("mean", torch.zeros_like(weight))
                mean.lerp_(weight.grad, 1 - group["momentum"])
                update = orthogonalized(weight.grad.lerp(mean, group["momentum"]))
                weight.add_(update, alpha=-group["lr"] * max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5)


def orthogonalized(matrix: Tensor) -> Tensor:
    """Five quintic Newton-Schulz steps towards the nearest orthogonal matrix."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp_min(1e-7)
    for a, b, c in NEWTON_SCHULZ:
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


class PlainTraining:
    """Forward, backward and both optimisers, step after step on the windows that our training reads."""

    def __init__(
        self, model: PlainGPT, config: RunConfig, batches: LanguageBatches, steps: int, at: int, beta: float, muon: str
    ) -> None:
        self.model, self.batches = model, batches
        self.config: MuonConfig = config.optimizer
        self.steps, self.at, self.beta = steps, at, beta
        scale = (config.model.width / self.config.lr_reference_width) ** -0.5
        ends = [model.embedding.weight, model.head.weight]
        matrices = [weight for weight in model.parameters() if all(weight is not end for end in ends)]
        make = {"torch.optim.Muon": self._muon, "float32 Muon": FloatMuon}[muon]
        self.muon = make(matrices, lr=self.config.matrix_lr * scale, momentum=self.config.momentum)
        rates = (self.config.embedding_lr * scale, self.config.head_lr * scale)
        groups = [{"params": [end], "lr": rate} for end, rate in zip(ends, rates, strict=True)]
        options = {"betas": tuple(self.config.betas), "eps": self.config.epsilon}
        self.adam = AdamW(groups, weight_decay=self.config.weight_decay, **options)
        self.peaks = [(group, group["lr"]) for group in (*self.muon.param_groups, *self.adam.param_groups)]

    def step(self, count: int) -> None:
        """So many optimiser steps from `at` on, over and over again the same ones."""
        for step in range(self.at, self.at + count):
            self._set_rates(step)
            tokens, targets = (torch.from_numpy(array) for array in self.batches.batch(step))
            loss = self.model(tokens, targets)
            loss.backward()
            self.muon.step()
            self.adam.step()
            self.muon.zero_grad(set_to_none=True)
            self.adam.zero_grad(set_to_none=True)
            for router in self.model.routers():
                router.end_step(self.beta)
        loss.item()

    def _set_rates(self, step: int) -> None:
        settings = self.config
        decay = linear_decay(step, self.steps, settings.decay_fraction, settings.final_lr_fraction)
        warm = decay * linear_warmup(step, round(settings.adamw_warmup_fraction * self.steps))
        for group, peak in self.peaks:
            group["lr"] = peak * (decay if group in self.muon.param_groups else warm)

    def _muon(self, matrices: list[nn.Parameter], lr: float, momentum: float) -> Muon:
        return Muon(matrices, lr=lr, momentum=momentum, weight_decay=self.config.weight_decay)
