"""What a vision run of paper B draws, counts and records, on a small made image set."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from moe_replication.config.run import RunConfig
from moe_replication.data.images import write_image_set
from moe_replication.ecology.control_number import control_number
from moe_replication.ecology.losses import NAMES
from moe_replication.errors import BadInput
from moe_replication.routing.update import end_step
from moe_replication.training.vision import VisionTask

IMAGES, BATCH = 100, 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    splits = [
        (generator.integers(0, 255, (count, 8, 8, 1), dtype=np.uint8), generator.integers(0, 10, count))
        for count in (IMAGES, 60)
    ]
    write_image_set(folder, "digits-10", *splits, classes=10, source="random, for tests")
    return folder


def _task(folder, config: RunConfig, *, micro: int = BATCH, epochs: int = 4, **ecology: object) -> VisionTask:
    training = dataclasses.replace(config.training, batch_size=BATCH, micro_batch_size=micro, epochs=epochs)
    weights = dataclasses.replace(config.ecology, **ecology)
    task = VisionTask(dataclasses.replace(config, training=training, ecology=weights), folder, seed=3)
    task.use(task.model, torch.device("cpu"))
    return task


@pytest.mark.parametrize("micro", [BATCH, 8])
def test_random_warm_up_draws_once_for_the_whole_batch(smoke, folder, micro):
    whole = _task(folder, smoke["v5-random-warmup"], random_warmup_fraction=1.0)
    (expected,) = (whole.random_logits(0, batch.first, len(batch.inputs)) for batch in whole.micro_batches(0))
    task = _task(folder, smoke["v5-random-warmup"], micro=micro, random_warmup_fraction=1.0)
    parts = [task.random_logits(0, batch.first, len(batch.inputs)) for batch in task.micro_batches(0)]
    assert torch.equal(torch.cat(parts, dim=1), expected)
    assert expected.shape == (1, BATCH, 16)
    assert not torch.equal(task.random_logits(1, 0, BATCH), expected)


def test_random_warm_up_ends_with_its_fraction(smoke, folder):
    task = _task(folder, smoke["v5-random-warmup"], random_warmup_fraction=0.25)
    assert task.steps == 16
    assert [task.random_logits(step, 0, 1) is not None for step in (0, 3, 4, 15)] == [True, True, False, False]


@pytest.mark.parametrize("micro", [BATCH, 8])
def test_silence_counts_steps_in_which_no_pass_used_an_expert(smoke, folder, micro):
    task = _task(folder, smoke["v1"], micro=micro)
    used = []
    for step in range(3):
        chosen = [task.loss(batch, step).routing[0].selection.mask_NE for batch in task.micro_batches(step)]
        used.append(torch.cat(chosen).any(dim=0).numpy())
        task.end_step()
    expected = [next((n for n, row in enumerate(reversed(used)) if row[expert]), 3) for expert in range(16)]
    assert task.silence.current_LE.tolist() == [expected]


def test_every_term_is_recorded_unweighted_and_weighted(smoke, folder):
    task = _task(folder, smoke["v6"])
    (batch,) = task.micro_batches(0)
    output = task.loss(batch, 0)
    ecology = task.config.ecology
    weights = {name: getattr(ecology, f"{name}_weight") for name in NAMES} | {"entropy": -ecology.entropy_weight}
    for name in NAMES:
        expected = weights[name] * output.parts[f"loss_{name}"].item()
        assert output.parts[f"weighted_loss_{name}"].item() == pytest.approx(expected)
    total = output.parts["loss_task"] + sum(output.parts[f"weighted_loss_{name}"] for name in NAMES)
    assert output.loss.item() == pytest.approx(total.item())


def test_epochs_record_the_annealed_temperature_and_its_control_number(smoke, folder):
    task = _task(folder, smoke["v6"], annealing_start=4.0, annealing_fraction=0.5)
    ecology, rows = task.config.ecology, {step: task.evaluate(step)[0] for step in (4, 8, 16)}
    # 16 steps: T falls from 4 to 2 over the first 8; the row of an epoch tells its last step
    assert [rows[step]["temperature"] for step in (4, 8, 16)] == pytest.approx([3.25, 2.25, 2.0])
    for row in rows.values():
        weights = (ecology.entropy_weight, ecology.oracle_weight, ecology.balance_weight)
        assert row["control_number"] == pytest.approx(control_number(row["temperature"], *weights))


@pytest.mark.parametrize("condition", ["v1", "cross-et-e0.30", "cross-ec-e0.30"])
def test_census_counts_first_choices_and_assignments(smoke, folder, condition):
    task = _task(folder, smoke[condition])
    for step in range(3):
        (batch,) = task.micro_batches(step)
        task.loss(batch, step).loss.backward()
        for layer in task.moe_layers():
            end_step(layer.state, task.config.routing, beta=0.5)
        task.end_step()
    row, experts = task.evaluate(3)
    images, labels = task.images.test(np.arange(60))
    with torch.no_grad():
        task.model.eval()
        output = task.model(images, task.evaluation_context(60))
    mask, logits = output.selection.mask_NE, output.logits_NE
    pairs = zip(mask.numpy(), logits.numpy(), strict=True)
    first = [max(np.flatnonzero(m), key=lambda expert, z=z: z[expert]) if m.any() else None for m, z in pairs]
    routed = 60 - first.count(None)
    assert row["zero_expert_share"] == pytest.approx(1 - routed / 60)
    shares = [first.count(expert) / routed for expert in range(16)]
    assert [one["usage"] for one in experts] == pytest.approx(shares)
    assert row["dead_experts"] == sum(share < 0.01 for share in shares)
    assigned = mask.sum(dim=0).numpy()
    assert row["dead_experts_assigned"] == (assigned < 0.01 * assigned.sum()).sum()
    assert row["test_accuracy"] == pytest.approx((output.y.argmax(1) == labels).float().mean().item())


def test_routing_stays_in_float32_under_mixed_precision(smoke, folder):
    task = _task(folder, smoke["v1"])
    for parameter in task.model.parameters():  # and not the running statistics, as DeepSpeed does
        parameter.data = parameter.data.bfloat16()
    (batch,) = task.micro_batches(0)
    assert batch.inputs.dtype == torch.bfloat16
    output = task.loss(batch, 0).routing[0]
    assert output.logits_NE.dtype == output.selection.gates_NE.dtype == output.y.dtype == torch.float32
    assert output.x_ND.dtype == torch.bfloat16


@pytest.mark.parametrize("condition", ["v1", "v6"])
def test_a_bfloat16_encoder_trains_like_one_in_float32(smoke, folder, condition):
    """Losses of five steps under DeepSpeed, and the census after them."""
    from moe_replication.training.engine import Engine

    losses, accuracies = {}, {}
    for precision in ("float32", "bfloat16"):
        config = smoke[condition]
        config = dataclasses.replace(config, engine=dataclasses.replace(config.engine, precision=precision))
        task = _task(folder, config)
        engine = Engine(task.model, config)
        losses[precision] = []
        for step in range(5):
            engine.set_learning_rates(step, task.steps)
            for batch in task.micro_batches(step):
                found = task.loss(batch, step)
                losses[precision].append(found.train_loss.item())
                engine.backward(found.loss)
                engine.step()
        accuracies[precision] = task.evaluate(5)[0]["test_accuracy"]
        statistics = [module.running_var for module in task.model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        assert statistics
        assert all(variance.dtype == torch.float32 for variance in statistics)
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05)
    assert losses["bfloat16"] != losses["float32"]
    assert accuracies["bfloat16"] == pytest.approx(accuracies["float32"], abs=0.15)


def test_images_that_choose_by_cut_off_need_the_whole_batch_as_pool(smoke):
    config = smoke["cross-et-e0.30"]
    with pytest.raises(BadInput, match=r"needs routing\.pool = batch and engine\.world_size = 1"):
        dataclasses.replace(config, routing=dataclasses.replace(config.routing, pool=64))
    with pytest.raises(BadInput, match=r"random_warmup_fraction = 0\.1 is for softmax_top_k"):
        dataclasses.replace(config, ecology=dataclasses.replace(config.ecology, random_warmup_fraction=0.1))


def _gradient(task: VisionTask, step: int) -> dict[str, torch.Tensor]:
    """Gradient of a step as DeepSpeed forms it: the mean over the step's passes."""
    task.model.zero_grad()
    batches = task.micro_batches(step)
    for batch in batches:
        (task.loss(batch, step).loss / len(batches)).backward()
    return {name: parameter.grad.clone() for name, parameter in task.model.named_parameters()}


def test_a_short_last_batch_has_all_passes_and_the_gradient_of_the_whole(smoke, folder):
    """100 images in batches of 48 leave 4, as passes of 2, 1 and 1; batch norm is off, its moments are a pass's own."""
    weights = dict.fromkeys(("entropy_weight", "oracle_weight", "balance_weight"), 0.0)
    training = {"batch_size": 48, "epochs": 1}
    gradients, losses = [], []
    for micro in (48, 16):
        config = smoke["v1"]
        config = dataclasses.replace(
            config,
            training=dataclasses.replace(config.training, micro_batch_size=micro, **training),
            ecology=dataclasses.replace(config.ecology, **weights),
        )
        task = VisionTask(config, folder, seed=3)
        task.use(task.model, torch.device("cpu"))
        task.model.eval()
        assert [len(task.micro_batches(step)) for step in range(task.steps)] == [48 // micro] * 3
        assert len(task.micro_batches(2)[0].inputs) == (4 if micro == 48 else 2)
        gradients.append(_gradient(task, 2))
        losses.append(torch.stack([task.loss(batch, 2).train_loss for batch in task.micro_batches(2)]).mean())
    torch.testing.assert_close(losses[1], losses[0])
    for name, whole in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], whole, rtol=1e-3, atol=1e-6, msg=name)


def test_a_last_batch_with_fewer_images_than_passes_is_refused_before_training(smoke, folder):
    with pytest.raises(BadInput, match=r"micro_batch_size = 4: a batch of 32 takes 8 forward passes, but 4 image"):
        _task(folder, smoke["v1"], micro=4)


def test_loss_free_balancing_moves_the_choice_on_images(smoke, folder):
    config = smoke["cross-topk-e0.30"]
    routing = dataclasses.replace(config.routing, rule="token_choice", balance="loss_free", bias_rate=10.0)
    task = _task(folder, dataclasses.replace(config, routing=routing))
    batch = task.micro_batches(0)[0]
    before = task.loss(batch, 0).routing[0].selection.mask_NE
    end_step(task.moe_layers()[0].state, routing, beta=0.0)
    after = task.loss(batch, 1).routing[0].selection.mask_NE
    assert not torch.equal(before, after)
