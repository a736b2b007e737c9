"""The census at other evaluation temperatures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from moe_replication.data.image_input import ImageInput
from moe_replication.data.images import ImageSet, write_image_set
from moe_replication.evaluation.temperature_scan import scan, scan_metrics
from moe_replication.models.tiered_moe import TieredMoEClassifier
from moe_replication.routing import RoutingContext

TEMPERATURES = (5.0, 0.1, 1.0)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> ImageSet:
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    splits = [
        (generator.integers(0, 255, (count, 8, 8, 1), dtype=np.uint8), generator.integers(0, 10, count))
        for count in (40, 70)
    ]
    write_image_set(folder, "digits-10", *splits, classes=10, source="random, for tests")
    return ImageSet.open(folder)


@pytest.fixture
def model(smoke) -> TieredMoEClassifier:
    model = TieredMoEClassifier(smoke["v1"], 1, 10)
    model.initialize(0)
    with torch.no_grad():
        model.moe.router.weight.mul_(3)
    return model.eval()


def test_rows_are_those_of_a_plain_pass_at_each_temperature(smoke, images, model):
    source = ImageInput(images, smoke["v1"].data)
    rows = scan(model, source, smoke["v1"], TEMPERATURES)
    assert [row["temperature"] for row in rows] == sorted(TEMPERATURES)
    planes, labels = source.test(np.arange(70))
    for row in rows:
        with torch.no_grad():
            output = model(planes, RoutingContext(training=False, pool_tokens=70, temperature=row["temperature"]))
        assert row["accuracy"] == pytest.approx((output.y.argmax(dim=1) == labels).float().mean().item())
        assert row["loss"] == pytest.approx(F.cross_entropy(output.y, labels).item(), rel=1e-5)
        probabilities = (output.logits_NE / row["temperature"]).softmax(-1)
        entropy = -torch.special.xlogy(probabilities, probabilities).sum(-1).mean()
        assert row["gate_entropy"] == pytest.approx(entropy.item(), rel=1e-4)
        counts = torch.bincount(output.logits_NE.argmax(dim=1), minlength=16)
        assert row["usage"] == pytest.approx((counts / 70).tolist())
        assert sum(row["tier_shares"]) == pytest.approx(1.0)
        top = (output.logits_NE / row["temperature"]).topk(2, dim=1)
        gates = torch.zeros(70, 16).scatter(1, top.indices, top.values.softmax(dim=1)).sum(dim=0) / 70
        assert row["mass"] == pytest.approx(gates.tolist(), abs=1e-5)
        assert row["active_by_mass"] == sum(gates >= 0.01)
        assert row["mass_tier_shares"] == pytest.approx(
            [part.sum().item() for part in gates.split((8, 4, 4))], abs=1e-5
        )


def test_the_first_choice_cannot_depend_on_the_temperature_and_gate_mass_does(smoke, images, model):
    """argmax of logits / T is that of the logits, but the second choice weighs the more the hotter the router is."""
    rows = scan(model, ImageInput(images, smoke["v1"].data), smoke["v1"], TEMPERATURES)
    assert len({tuple(row["usage"]) for row in rows}) == 1
    cold, _, hot = (np.abs(np.subtract(row["mass"], row["usage"])).sum() for row in rows)
    assert cold < hot
    metrics = scan_metrics(rows)
    assert metrics["scan_mass_tier_range"] > 0
    assert len({row["gate_entropy"] for row in rows}) == len(rows)
    assert metrics["scan_hard_gradient_range"] > 0


def test_ranges_by_hand():
    row = {"accuracy": 0.5, "active_by_mass": 9.0, "mass_tier_shares": [0.5, 0.3, 0.2], "hard_sample_gradient": 2.0}
    other = {"accuracy": 0.4, "active_by_mass": 11.0, "mass_tier_shares": [0.4, 0.3, 0.3], "hard_sample_gradient": 3.0}
    assert scan_metrics([row, other]) == {
        "scan_accuracy_range": pytest.approx(0.1), "scan_mass_active_range": 2.0,
        "scan_mass_tier_range": pytest.approx(0.1), "scan_hard_gradient_range": pytest.approx(0.5),
    }  # fmt: skip
    assert scan_metrics([row, other | {"hard_sample_gradient": None}])["scan_hard_gradient_range"] is None


def test_gradient_norms_against_one_image_at_a_time(smoke, images, model):
    source = ImageInput(images, smoke["v1"].data)
    planes, labels = source.test(np.arange(5))
    context = RoutingContext(training=False, pool_tokens=5, temperature=2.0)
    with torch.no_grad():
        x_ND = model(planes, context).x_ND
    norms = model.feature_gradient_norms(x_ND, labels, context)
    for index in range(5):
        x = x_ND[index : index + 1].clone().requires_grad_()
        loss = F.cross_entropy(model.moe(x, dataclasses.replace(context, pool_tokens=1)).y, labels[index : index + 1])
        (gradient,) = torch.autograd.grad(loss, x)
        assert norms[index].item() == pytest.approx(gradient.norm().item(), rel=1e-4)
    assert all(parameter.grad is None for parameter in model.parameters())
