from __future__ import annotations

import math

import pytest
import torch

from moe_replication.routing import RoutingContext, RoutingState, softmax_top_k

LN2 = math.log(2)
# softmax = (4, 2, 1) / 7 and (1, 2, 4) / 7 at T = 1
LOGITS = torch.tensor([[2 * LN2, LN2, 0.0], [0.0, LN2, 2 * LN2]])


def _select(config, **context):
    return softmax_top_k.select(
        LOGITS, RoutingState.empty(3), config, RoutingContext(training=True, pool_tokens=2, **context)
    )


@pytest.mark.parametrize(
    ("renormalize", "temperature", "gates"),
    [
        (False, 1.0, [[4 / 7, 2 / 7, 0.0], [0.0, 2 / 7, 4 / 7]]),
        (True, 1.0, [[2 / 3, 1 / 3, 0.0], [0.0, 1 / 3, 2 / 3]]),
        (True, 0.5, [[0.8, 0.2, 0.0], [0.0, 0.2, 0.8]]),
    ],
)
def test_gates_of_the_top_two(routing, renormalize, temperature, gates):
    selection = _select(routing(top_k=2, renormalize=renormalize), temperature=temperature)
    assert selection.mask_NE.tolist() == [[True, True, False], [False, True, True]]
    torch.testing.assert_close(selection.gates_NE, torch.tensor(gates))


@pytest.mark.parametrize("temperature", [0.1, 5.0])
def test_temperature_never_changes_who_is_chosen(routing, temperature):
    assert torch.equal(_select(routing(top_k=1), temperature=temperature).mask_NE, _select(routing(top_k=1)).mask_NE)


def test_random_warm_up_chooses_at_random_and_weighs_by_the_router(routing):
    random = torch.tensor([[0.1, 0.2, 0.9], [0.1, 0.9, 0.8]])
    selection = _select(routing(top_k=2, renormalize=True), random_logits_LNE=random[None])
    assert selection.mask_NE.tolist() == [[False, True, True], [False, True, True]]
    torch.testing.assert_close(selection.gates_NE, torch.tensor([[0, 2 / 3, 1 / 3], [0, 1 / 3, 2 / 3]]))


def test_random_warm_up_gives_every_layer_scores_of_its_own(routing):
    random = torch.tensor([[[0.9, 0.1, 0.2]] * 2, [[0.1, 0.2, 0.9]] * 2])
    for layer, chosen in enumerate((0, 2)):
        selection = _select(routing(top_k=1), random_logits_LNE=random, layer=layer)
        assert selection.mask_NE.nonzero()[:, 1].tolist() == [chosen, chosen]


def test_gates_stay_finite_when_a_random_choice_has_vanishing_probability(routing):
    logits = torch.tensor([[300.0, 0.0, 0.0]], requires_grad=True)
    context = RoutingContext(training=True, pool_tokens=1, random_logits_LNE=torch.tensor([[[0.0, 1.0, 1.0]]]))
    config = routing(top_k=2, renormalize=True)
    gates = softmax_top_k.select(logits, RoutingState.empty(3), config, context).gates_NE
    torch.testing.assert_close(gates, torch.tensor([[0.0, 0.5, 0.5]]))
