"""Losses and gradients that are no numbers: found before the update, at the layer where they begin."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from moe_replication.training.safety import GradientWatch, describe_fault, first_bad_layer

RUN = "results/smoke/runs/expert-threshold/et/seed-0"
NAN, INFINITE = float("nan"), float("inf")


class SpoiledGradient(torch.autograd.Function):
    """The identity whose gradient is `value`."""

    @staticmethod
    def forward(context, x, value):
        context.value = value
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        return torch.full_like(gradient, context.value), None


class Layers(nn.Module):
    """Three linear layers; the output or gradient of the middle one can be spoiled."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last = (nn.Linear(4, 4) for _ in range(3))
        self.gradient: float | None = None

    def forward(self, x):
        x = self.middle(self.first(x))
        if self.gradient is not None:
            x = SpoiledGradient.apply(x, self.gradient)
        return self.last(x)


def loss(model: Layers) -> torch.Tensor:
    return model(torch.ones(2, 4)).square().mean()


@pytest.mark.parametrize("value", [NAN, INFINITE, -INFINITE])
def test_bad_gradient_is_named_by_the_layer_where_it_begins(value):
    model = Layers()
    watch = GradientWatch(model)
    model.gradient = value
    loss(model).backward()
    assert not watch.finite(torch.device("cpu"))
    # `last` is behind the fault, `first` before it: only the middle one is where it begins.
    assert watch.first_bad().startswith("middle.")
    losses = torch.tensor([1.0])
    said = describe_fault(losses, watch, model, lambda _: model(torch.ones(2, 4)))
    assert said.startswith("the gradient of middle.")


def test_a_bad_pass_is_seen_after_a_good_one_and_forgotten_with_the_step():
    model = Layers()
    watch = GradientWatch(model)
    loss(model).backward()
    assert watch.finite(torch.device("cpu"))
    model.gradient = NAN
    loss(model).backward()
    model.gradient = None
    loss(model).backward()
    assert not watch.finite(torch.device("cpu"))
    watch.clear()
    loss(model).backward()
    assert watch.finite(torch.device("cpu"))
    assert watch.first_bad() is None


def test_the_watch_changes_no_gradient():
    plain, watched = Layers(), Layers()
    watched.load_state_dict(plain.state_dict())
    GradientWatch(watched)
    for model in (plain, watched):
        loss(model).backward()
    pairs = zip(plain.parameters(), watched.parameters(), strict=True)
    assert all(torch.equal(one.grad, other.grad) for one, other in pairs)


def test_bad_output_is_named_by_the_innermost_layer():
    model = Layers()
    model.middle.register_forward_hook(lambda module, inputs, output: output / 0)
    said = describe_fault(torch.tensor([1.0, NAN]), GradientWatch(model), model, lambda _: loss(model))
    assert said == "loss is nan, first wrong is the output of middle"


def test_the_pass_that_was_bad_is_repeated():
    passes = []
    describe_fault(torch.tensor([1.0, 2.0, INFINITE]), GradientWatch(Layers()), Layers(), passes.append)
    assert passes == [2]


def test_bad_weights_come_first_and_a_loss_alone_last():
    model = Layers()
    assert first_bad_layer(model, lambda: loss(model)) == "the loss itself"
    with torch.no_grad():
        model.first.weight[0, 0] = INFINITE
    assert first_bad_layer(model, lambda: loss(model)) == "the weights first.weight"


SPOIL = """
import json, sys, torch
from moe_replication.config import load_project
from moe_replication.errors import TrainingDiverged
from moe_replication.training.run import train_in_turn
from moe_replication.training.language import LanguageTask

fault, step_of_fault, moved = sys.argv[1], 9, []
whole_loss = LanguageTask.loss

def loss(task, batch, step):
    output = whole_loss(task, batch, step)
    if step == step_of_fault and fault == "loss":
        output.loss = output.loss * float("nan")
    if step == step_of_fault and fault == "gradient":
        # sqrt has an infinite slope at zero; the value stays as it was.
        router = task.moe_layers()[0].router.weight
        output.loss = output.loss + (router - router.detach()).sum().sqrt()
    if step == step_of_fault:
        moved.append([weight.detach().clone() for weight in task.model.parameters()])
        moved.append(list(task.model.parameters()))
    return output

LanguageTask.loss = loss
project = load_project(overrides={"scale": "smoke"})
[run] = [run for run in project.runs if run.folder.as_posix() == sys.argv[2]]
try:
    train_in_turn(project, [run])
except TrainingDiverged as error:
    print(json.dumps({"said": str(error), "moved": not all(map(torch.equal, *moved[:2]))}))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "what"),
    [
        ("loss", "loss is nan, first wrong is the loss itself"),
        ("gradient", "the gradient of blocks.1.moe.router.weight is not finite"),
    ],
)
def test_training_stops_before_the_weights_move(project, fault, what):
    """Under ZeRO 1 in float32 DeepSpeed would leave the update out and go on."""
    command = [sys.executable, "-c", SPOIL, fault, RUN]
    result = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads(result.stdout.splitlines()[-1])
    assert what in found["said"]
    assert "at step 10, before the weights moved; the last good checkpoint is" in found["said"]
    assert "step-00000007. Lower the learning rate" in found["said"]
    assert not found["moved"]
    assert not (project / RUN / "run.json").exists()
