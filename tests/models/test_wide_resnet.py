from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from moe_replication.models.initialization import fill_normal
from moe_replication.models.tiered_moe import TieredMoEClassifier, classification_losses
from moe_replication.models.wide_resnet import WideResNet
from moe_replication.routing import RoutingContext

TRAINING = RoutingContext(training=True, pool_tokens=8, temperature=2.0)


@pytest.fixture
def paper_model(smoke):
    """WideResNet-28-10 to 256 features."""
    return replace(smoke["v1"].model, depth=28, widen=10, base_channels=16, feature_width=256)


@pytest.fixture
def small_model(smoke):
    """WideResNet-10-1 with four stem channels."""
    return replace(smoke["v1"].model, depth=10, widen=1, base_channels=4, feature_width=32)


def _classifier(config, channels: int = 1, classes: int = 7) -> TieredMoEClassifier:
    model = TieredMoEClassifier(config, channels, classes)
    model.initialize(0)
    return model


def test_parameter_count_of_wide_resnet_28_10(paper_model):
    with torch.device("meta"):
        model = WideResNet(paper_model, 3)
    encoder = sum(p.numel() for n, p in model.named_parameters() if not n.startswith("project"))
    # Zagoruyko and Komodakis 2016: 36.48M, of which the 10-class head has 6,410.
    assert encoder == 36_479_194 - 6_410
    assert sum(p.numel() for p in model.parameters()) == encoder + 641 * 256
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(convolutions) == 1 + 2 * 12


@pytest.mark.parametrize(("side", "channels"), [(32, 3), (8, 1)])
def test_groups_halve_the_image_twice(small_model, side, channels):
    model = WideResNet(small_model, channels)
    sizes = []
    for block in model.blocks:
        block.register_forward_hook(lambda _m, _i, out: sizes.append(tuple(out.shape[1:])))
    features = model(torch.randn(2, channels, side, side))
    assert features.shape == (2, 32)
    assert sizes == [(4, side, side), (8, side // 2, side // 2), (16, side // 4, side // 4)]


def test_class_logits_are_the_gated_sum_of_the_chosen_experts(smoke):
    model = _classifier(smoke["v1"]).eval()
    output = model(torch.randn(5, 1, 8, 8), TRAINING)
    every = model.expert_logits(output)
    assert every.shape == (16, 5, 7)
    torch.testing.assert_close(output.y, torch.einsum("ne,eny->ny", output.selection.gates_NE, every))
    assert output.selection.mask_NE.sum(dim=1).tolist() == [2] * 5
    torch.testing.assert_close(output.selection.gates_NE.sum(dim=1), torch.ones(5))


def test_losses_by_expert_on_paper():
    logits = torch.tensor([[[0.0, 0.0], [2.0, 0.0]], [[1.0, 0.0], [0.0, 3.0]]])
    losses = classification_losses(logits, torch.tensor([0, 1]))
    expected = [[2.0, 1 + torch.e**2], [1 + torch.e**-1, 1 + torch.e**-3]]
    torch.testing.assert_close(losses, torch.tensor(expected).log())


def test_initial_weights(smoke, paper_model):
    config = replace(smoke["v1"], model=replace(paper_model, depth=10, widen=1))
    model = _classifier(config, classes=100)
    parameters = dict(model.named_parameters())
    stds = {
        "encoder.stem.weight": (2 / 9) ** 0.5,
        "encoder.blocks.2.conv2.weight": (2 / (64 * 9)) ** 0.5,
        "moe.experts.up.2": 256**-0.5,
        "moe.experts.down.0": 128**-0.5 * (100 / 128) ** 0.5,
    }
    for name, std in stds.items():
        assert parameters[name].std().item() == pytest.approx(std, rel=0.1), name
    assert parameters["encoder.norm.weight"].unique().tolist() == [1.0]
    assert (
        parameters["encoder.project.bias"].count_nonzero() == parameters["moe.router.hidden_bias"].count_nonzero() == 0
    )
    assert [p.count_nonzero() > 0 for n, p in parameters.items() if ".down." in n] == [True] * 3


def test_router_starts_as_in_the_language_model(smoke, paper_model):
    """N(0, d^-1/2) by the router's own input width, as TieredMoEClassifier.initialize promises."""
    config = smoke["v1"]
    config = replace(config, model=replace(paper_model, depth=10, widen=1), moe=replace(config.moe, router_hidden=128))
    parameters = dict(_classifier(config).named_parameters())
    assert parameters["moe.router.hidden"].std().item() == pytest.approx(256**-0.5, rel=0.05)
    assert parameters["moe.router.weight"].std().item() == pytest.approx(128**-0.5, rel=0.05)


def test_shortcut_is_the_identity_where_shapes_agree(small_model):
    model = WideResNet(replace(small_model, depth=16), 1)
    assert [block.shortcut is None for block in model.blocks] == [True, True, False, True, False, True]
    block = model.blocks[1]
    fill_normal(block.conv2.weight, 0.0, 0, "zero")
    x = torch.randn(2, 4, 8, 8)
    assert torch.equal(block(x), x)
