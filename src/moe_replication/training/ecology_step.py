"""Paper B's losses applied to a forward pass, for images and for text.

Legend: N samples, S sampled tokens, E experts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moe_replication.config.sections import EcologyConfig
from moe_replication.ecology import losses
from moe_replication.layers.moe import MoELayer, MoEOutput
from moe_replication.layers.norms import rms_norm
from moe_replication.models.gpt import GPT
from moe_replication.models.tiered_moe import TieredMoEClassifier, classification_losses


def vision_losses(
    model: TieredMoEClassifier, output: MoEOutput, labels_N: Tensor, config: EcologyConfig, temperature: float
) -> losses.RoutingLosses:
    """Every expert is tried on every image: experts are small beside the encoder."""
    logits_ENY = model.expert_logits(output)
    losses_EN = classification_losses(logits_ENY, labels_N)
    return _losses(model.moe, output, output.logits_NE, config, temperature, losses_EN, logits_ENY)


def language_losses(
    model: GPT,
    outputs: list[MoEOutput],
    targets_N: Tensor,
    sample_S: Tensor,
    config: EcologyConfig,
    temperature: float,
) -> losses.RoutingLosses:
    """Mean over MoE layers; experts are tried on `sample_S` tokens.

    The loss of an expert on a token is that of the model's head on the stream after this expert alone
    (reconstruction: no public source says what the oracle compares).
    """
    per_layer = []
    for layer, output in zip(model.moe_layers(), outputs, strict=True):
        outputs_ESD = layer.experts.all_outputs(output.x_ND[sample_S])
        with torch.no_grad():
            after_ESD = rms_norm(output.residual_ND[sample_S] + outputs_ESD)
            losses_ES = classification_losses(model.logits(after_ESD), targets_N[sample_S])
        logits_SE = output.logits_NE[sample_S]
        per_layer.append(_losses(layer, output, logits_SE, config, temperature, losses_ES, outputs_ESD))
    mean = {name: torch.stack([getattr(one, name) for one in per_layer]).mean() for name in losses.NAMES}
    return losses.RoutingLosses(**mean)


def _losses(
    layer: MoELayer,
    output: MoEOutput,
    logits_SE: Tensor,
    config: EcologyConfig,
    temperature: float,
    expert_losses_ES: Tensor,
    outputs_ESD: Tensor,
) -> losses.RoutingLosses:
    probabilities_NE = (output.logits_NE / temperature).softmax(dim=-1)
    # Rules with sigmoid gates have values outside the mask, too.
    chosen_NE = output.selection.gates_NE * output.selection.mask_NE
    return losses.RoutingLosses(
        entropy=losses.routing_entropy(probabilities_NE),
        oracle=losses.oracle_loss(logits_SE, temperature, expert_losses_ES),
        balance=losses.balance_loss(probabilities_NE, chosen_NE),
        ortho=losses.orthogonality_loss(layer.router.weight),
        divergence=losses.divergence_loss(outputs_ESD if config.divergence_weight else outputs_ESD.detach()),
    )
