"""DeepSpeed's Muon behind Engine, fed with known gradients: the loss is linear in every weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from moe_replication.config.run import RunConfig
from moe_replication.errors import BadInput
from moe_replication.models.gpt import GPT
from moe_replication.seeding import torch_generator

BFLOAT16 = [(1, "bfloat16"), (2, "bfloat16")]


@pytest.fixture
def muon_calls(monkeypatch) -> list[tuple[int, ...]]:
    """Shapes that muon_update was called with, at every place where DeepSpeed looks it up."""
    # Engine first: it turns compilation off before Muon's kernels are wrapped.
    import moe_replication.training.engine  # noqa: F401, I001
    from deepspeed.runtime.zero.muon import muon_optimizer, original_muon

    calls, update = [], original_muon.muon_update

    def counting(gradient: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        calls.append(tuple(gradient.shape))
        return update(gradient, *args, **kwargs)

    monkeypatch.setattr(original_muon, "muon_update", counting)
    monkeypatch.setattr(muon_optimizer, "muon_update", counting)
    return calls


@pytest.fixture
def settings(smoke) -> Callable[..., RunConfig]:
    """settings(stage, precision, passes, condition, **optimizer): ET at the smoke scale."""

    def make(
        stage: int, precision: str = "float32", passes: int = 1, condition: str = "et", **changes: object
    ) -> RunConfig:
        config = smoke[condition]
        engine = replace(config.engine, zero_stage=stage, precision=precision)
        optimizer = replace(config.optimizer, **changes)
        training = replace(config.training, batch_size=2, micro_batch_size=2 // passes)
        return replace(config, engine=engine, training=training, optimizer=optimizer)

    return make


def _gradients(model: GPT) -> dict[str, torch.Tensor]:
    return {n: torch.randn(p.shape, generator=torch_generator(0, n)) for n, p in model.named_parameters()}


def _one_step(config: RunConfig) -> tuple[GPT, dict[str, torch.Tensor], object]:
    """Weights start at zero, so that after the step they are minus rate times update."""
    from moe_replication.training.engine import Engine

    model = GPT(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    gradients = _gradients(model)
    engine = Engine(model, config)
    engine.set_learning_rates(0, 1000)
    for sign in (1.0,) if config.accumulation == 1 else (3.0, -1.0):
        # Two passes whose mean is the gradient of one.
        loss = sum((p * gradients[n].to(p)).sum() for n, p in model.named_parameters())
        engine.backward(sign * loss)
        moved = engine.step()
    assert moved
    return model, gradients, engine


@pytest.mark.parametrize(("stage", "precision"), [(0, "float32"), (1, "float32"), (2, "float32"), *BFLOAT16])
@pytest.mark.parametrize("passes", [1, 2])
def test_every_matrix_is_orthogonalised_once_a_step(settings, muon_calls, stage, precision, passes):
    model, gradients, engine = _one_step(settings(stage, precision, passes))
    matrices = {name: p for name, p in model.named_parameters() if p.use_muon}
    assert sorted(muon_calls) == sorted(tuple(p.shape) for p in matrices.values())
    rate = 0.02 * (model.config.width / 768) ** -0.5
    assert engine.optimizer.param_groups[0]["lr"] == pytest.approx(rate)
    for name, parameter in matrices.items():
        rows, columns = parameter.shape[-2:]
        update = parameter.detach().float() / (-rate * max(1.0, rows / columns) ** 0.5)
        slices = zip(update.view(-1, rows, columns), gradients[name].view(-1, rows, columns), strict=True)
        for moved, gradient in slices:
            left, _, right = torch.linalg.svd(gradient, full_matrices=False)
            # In the gradient's own basis the update is diagonal: each expert by itself, right sign and scale.
            basis = left.T @ moved @ right.T
            diagonal = basis.diagonal()
            assert (basis - torch.diag(diagonal)).abs().max() < 0.05, name
            assert diagonal.max() < 1.3, name
            if rows != columns:  # a square Gaussian matrix has singular values too small for five iterations
                assert diagonal.min() > 0.6, name


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_concatenated_experts_are_orthogonalised_as_one_matrix(settings, muon_calls, stage):
    model, gradients, _ = _one_step(settings(stage, condition="et-concat"))
    width, tall = model.config.width, 16 * 2 * model.config.width
    assert muon_calls.count((tall, width)) == 2
    assert all(len(shape) == 2 for shape in muon_calls)
    moved = dict(model.named_parameters())["blocks.1.moe.experts.up.0"].detach()
    left, _, right = torch.linalg.svd(gradients["blocks.1.moe.experts.up.0"], full_matrices=False)
    basis = left.T @ moved @ right.T
    assert (basis - torch.diag(basis.diagonal())).abs().max() < 0.05 * basis.abs().max()


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_experts_under_adamw_are_never_orthogonalised(settings, muon_calls, stage):
    model, gradients, _ = _one_step(settings(stage, condition="et-adamw"))
    assert all(len(shape) == 2 for shape in muon_calls)
    rate = 0.002 * (model.config.width / 768) ** -0.5 / 13
    for name in ("blocks.1.moe.experts.up.0", "blocks.1.moe.experts.down.0"):
        moved = dict(model.named_parameters())[name].detach()
        torch.testing.assert_close(moved, -rate * gradients[name].sign(), rtol=0.01, atol=0)


def test_clipping_comes_before_orthogonalisation(settings, muon_calls):
    """Muon's first update does not feel the gradient's size; AdamW's epsilon does, and the momentum keeps it."""
    model, gradients, engine = _one_step(settings(0, gradient_clipping=1.0))
    norm = torch.cat([gradient.flatten() for gradient in gradients.values()]).norm()
    weight = dict(model.named_parameters())["blocks.0.attention.query"]
    momentum = engine.optimizer.state[weight]["momentum_buffer"]
    torch.testing.assert_close(momentum, 0.05 * gradients["blocks.0.attention.query"] / norm, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("stage", [1, 2])
def test_clipping_from_stage_1_on_is_refused(settings, stage):
    with pytest.raises(BadInput, match=r"gradient_clipping = 1.0 needs engine.zero_stage = 0"):
        settings(stage, gradient_clipping=1.0)


@pytest.mark.parametrize(("stage", "precision"), [(0, "float32"), (1, "float32"), (2, "float32"), *BFLOAT16])
def test_embedding_and_head_take_an_adam_step(settings, muon_calls, stage, precision):
    model, gradients, _ = _one_step(settings(stage, precision))
    for name, peak in (("embedding", 0.2), ("head", 0.004)):
        # Adam's first step is rate * sign(gradient); the first of 13 warm-up steps.
        rate = peak * (model.config.width / 768) ** -0.5 / 13
        moved = dict(model.named_parameters())[name].detach().float()
        torch.testing.assert_close(moved, -rate * gradients[name].sign(), rtol=0.01, atol=0)
        assert tuple(moved.shape) not in muon_calls


def test_rates_are_set_from_the_peak_at_every_step(settings, muon_calls):
    _, _, engine = _one_step(settings(1))
    for step, share in ((500, 0.55), (0, 1.0), (999, 0.1009)):
        assert engine.set_learning_rates(step, 1000) == pytest.approx(
            share * engine.optimizer.param_groups[0]["peak_lr"]
        )


def test_zero_stage_0_with_bfloat16_is_refused(settings):
    """DeepSpeed takes an unsharded path there whose first AdamW step is 0.73 of its size."""
    from moe_replication.training.engine import Engine

    config = settings(0, "bfloat16")
    with pytest.raises(BadInput, match=r"engine\.zero_stage"):
        Engine(GPT(config), config)
