from __future__ import annotations

import numpy as np
import pytest
from torch import tensor

from moe_replication.evaluation.specialization import domain_distance, specialization_rows


def test_ratio_is_load_over_tokens():
    rows = specialization_rows("code", tensor([[3.0, 1.0], [0.0, 4.0]]), 4)
    assert [(row["layer"], row["expert"], row["ratio"]) for row in rows] == [
        (0, 0, 0.75), (0, 1, 0.25), (1, 0, 0.0), (1, 1, 1.0),
    ]  # fmt: skip
    assert {row["tokens"] for row in rows} == {4}


@pytest.mark.parametrize(
    ("code", "math", "distance"),
    [
        ([[0.2, 0.6]], [[0.1, 0.3]], 0.0),  # the same shares at twice the fan-out
        ([[1.0, 0.0]], [[0.0, 1.0]], 1.0),
        ([[0.75, 0.25]], [[0.25, 0.75]], 0.5),
        ([[0.0, 0.0]], [[0.0, 0.0]], 0.0),  # nobody uses the layer
        ([[0.0, 0.0]], [[0.3, 0.1]], 1.0),
        ([[0.5, 0.5], [1.0, 0.0]], [[0.5, 0.5], [0.0, 1.0]], 0.5),  # mean over layers
    ],
)
def test_distance_of_two_domains(code, math, distance):
    assert domain_distance(np.array(code), np.array(math)) == pytest.approx(distance)
    assert domain_distance(np.array(math), np.array(code)) == pytest.approx(distance)
