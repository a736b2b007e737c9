"""Losses and gradients that are no numbers: seen before the weights move, with the layer where they begin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import partial

import torch
from torch import Tensor, nn


class GradientWatch:
    """The largest magnitude of every parameter's gradient over the passes of one optimiser step.

    Hooks see each gradient before DeepSpeed takes it: from ZeRO 1 on it is in buckets afterwards, and in float32 an
    update with a gradient that is no number would be left out without a word.
    """

    def __init__(self, model: nn.Module) -> None:
        self._largest: dict[str, Tensor] = {}
        for name, parameter in model.named_parameters():
            parameter.register_hook(partial(self._see, name))

    def finite(self, device: torch.device) -> Tensor:
        """Whether every gradient since the last `clear` is a number; a scalar on `device`, not waited for."""
        if not self._largest:
            return torch.ones((), dtype=torch.bool, device=device)
        return torch.isfinite(torch.stack(list(self._largest.values()))).all()

    def first_bad(self) -> str | None:
        """The first parameter that the backward pass came to with a gradient that is no number."""
        return next((name for name, largest in self._largest.items() if not largest.isfinite()), None)

    def clear(self) -> None:
        """Begin another optimiser step."""
        self._largest.clear()

    def _see(self, name: str, gradient: Tensor) -> None:
        # NaN stays NaN. The infinity norm would say the same in twenty times the time on a CPU.
        low, high = torch.aminmax(gradient.detach())
        largest = torch.maximum(high, -low).float()
        seen = self._largest.get(name)
        self._largest[name] = largest if seen is None else torch.maximum(seen, largest)


def describe_fault(
    losses: Tensor, gradients: GradientWatch, model: nn.Module, forward: Callable[[int], object]
) -> str | None:
    """What was no number in a step: the loss and the layer where it begins, or the parameter of the gradient.

    None where the fault is another rank's. `forward` repeats one of the step's passes; every rank must call this, as
    pools and balance span them.
    """
    bad = int((~torch.isfinite(losses)).float().argmax())
    where = first_bad_layer(model, lambda: forward(bad))
    if not torch.isfinite(losses[bad]):
        return f"loss is {losses[bad].item()}, first wrong is {where}"
    name = gradients.first_bad()
    return f"the gradient of {name} is not finite" if name else None


@torch.no_grad()
def first_bad_layer(model: nn.Module, forward: Callable[[], object]) -> str:
    """Where numbers first go wrong: a weight, a layer's output in a repeated pass, or the loss itself."""
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            return f"the weights {name}"
    found: list[str] = []
    hooks = [
        module.register_forward_hook(partial(_note_bad_output, found, name))
        for name, module in model.named_modules()
        if name
    ]
    try:
        forward()
    finally:
        for hook in hooks:
            hook.remove()
    return f"the output of {found[0]}" if found else "the loss itself"


def _note_bad_output(found: list[str], name: str, _module: nn.Module, _inputs: object, output: object) -> None:
    # Of a layer's dataclass the first field is what goes on to the next layer; cut-offs may well be infinite.
    value = getattr(output, fields(output)[0].name) if is_dataclass(output) else output
    if isinstance(value, Tensor) and not value.isfinite().all():
        found.append(name)
