"""Paper B's vision model: encoder, router MLP and tiered experts that each give class logits.

That the experts are the classifier heads, and that tiers differ in hidden width, is a reconstruction.
Legend: N images, F feature width, E experts, Y classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moe_replication.config.run import RunConfig
from moe_replication.layers.moe import MoELayer, MoEOutput
from moe_replication.layers.norms import rms_norm
from moe_replication.models.initialization import aspect_ratio_std, fill_normal, named_matrices
from moe_replication.models.wide_resnet import WideResNet
from moe_replication.routing import RoutingContext


class TieredMoEClassifier(nn.Module):
    """Class logits = sum over the chosen experts of gate * expert(feature)."""

    def __init__(self, config: RunConfig, image_channels: int, classes: int) -> None:
        super().__init__()
        self.encoder = WideResNet(config.model, image_channels)
        self.moe = MoELayer(config.model.feature_width, classes, config.moe, config.routing)

    def moe_layers(self) -> list[MoELayer]:
        """The one MoE layer."""
        return [self.moe]

    def initialize(self, seed: int) -> None:
        """Convolutions and the projection N(0, 2 / fan-in) (He et al. 2015), norms to identity; experts and
        router as in the language model, except that the experts' outputs start non-zero, as heads must.
        """
        for name, parameter in named_matrices(self).items():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim == 1:
                nn.init.ones_(parameter)
            elif name.startswith("encoder."):
                fan_in = parameter[0].numel()
                fill_normal(parameter, (2.0 / fan_in) ** 0.5, seed, name)
            elif ".router." in name:
                fill_normal(parameter, parameter.shape[-1] ** -0.5, seed, name)
            else:
                fill_normal(parameter, aspect_ratio_std(parameter), seed, name)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()

    def forward(self, images: Tensor, context: RoutingContext) -> MoEOutput:
        """(N, C, H, W) -> routing output whose `y` is the class logits (N, Y), float32."""
        return self.classified(self.features(images), context)

    def features(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> what the router sees, (N, F)."""
        return rms_norm(self.encoder(images))

    def classified(self, x_ND: Tensor, context: RoutingContext) -> MoEOutput:
        """Routing output of features; its `y` is the class logits (N, Y), float32."""
        output = self.moe(x_ND, context)
        output.y = output.y.float()
        return output

    @torch.enable_grad()
    def feature_gradient_norms(self, x_ND: Tensor, labels_N: Tensor, context: RoutingContext) -> Tensor:
        """Length of the gradient of every image's own loss in the feature that the router sees, (N,)."""
        x_ND = x_ND.detach().requires_grad_()
        losses_N = torch.nn.functional.cross_entropy(self.classified(x_ND, context).y, labels_N, reduction="none")
        (gradient_ND,) = torch.autograd.grad(losses_N.sum(), x_ND)
        return gradient_ND.float().norm(dim=1)

    def expert_logits(self, output: MoEOutput) -> Tensor:
        """Class logits of every expert on every image, (E, N, Y), float32."""
        return self.moe.experts.all_outputs(output.x_ND).float()


def classification_losses(logits_ENY: Tensor, labels_N: Tensor) -> Tensor:
    """Cross-entropy of every expert on every sample, (E, N)."""
    experts, samples, _ = logits_ENY.shape
    flat = torch.nn.functional.cross_entropy(logits_ENY.flatten(0, 1), labels_N.repeat(experts), reduction="none")
    return flat.view(experts, samples)
