from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_replication.ecology.control_number import control_number, temperature_at

positive = st.floats(0.01, 10)


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        ((2.0, 0.15, 0.15, 0.40), 6 / 11),
        ((2.0, 0.15, 0.15, 0.85), 0.30),
        ((2.0, 0.275, 0.15, 0.40), 1.0),
        ((2.0, 0.30, 0.70, 0.40), 6 / 11),
        ((2.0, 0.15, 0.15, 0.0), 2.0),
        ((2.0, 0.0, 0.15, 0.40), 0.0),
        ((2.0, 0.15, 0.0, 0.0), None),
    ],
)
def test_worked_values(factors, expected):
    assert control_number(*factors) == (None if expected is None else pytest.approx(expected))


@given(positive, positive, positive, positive, positive)
def test_only_the_products_and_the_sum_matter(t, h, o, b, scale):
    value = control_number(t, h, o, b)
    assert control_number(t * scale, h / scale, o, b) == pytest.approx(value)
    assert control_number(t, h, b, o) == pytest.approx(value)
    assert control_number(t, h * scale, o * scale, b * scale) == pytest.approx(value)
    assert control_number(t, h, o, b + scale) < value < control_number(t, h + scale, o, b)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("v1", 6 / 11),
        ("v3-e0.545", 6 / 11),
        ("v3-e0.30", 0.30),
        ("v6", 6 / 11),
        ("v6-no-balance", 2.0),
        ("v6-no-entropy", 0.0),
        ("v7-e1.0", 1.0),
        ("l3-e0.30", 0.30),
        ("l3-e1.0", 1.0),
    ],
)
def test_conditions_have_the_value_in_their_name(smoke, condition, expected):
    ecology = smoke[condition].ecology
    factors = (ecology.temperature, ecology.entropy_weight, ecology.oracle_weight, ecology.balance_weight)
    assert control_number(*factors) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("start", "fraction", "progress", "expected"),
    [
        (None, 0.5, 0.0, 2.0),
        (4.0, 0.5, 0.0, 4.0),
        (4.0, 0.5, 0.25, 3.0),
        (4.0, 0.5, 0.5, 2.0),
        (4.0, 0.5, 1.0, 2.0),
        (0.5, 1.0, 0.5, 1.25),
    ],
)
def test_temperature_falls_linearly_and_stays(smoke, start, fraction, progress, expected):
    ecology = replace(smoke["v1"].ecology, annealing_start=start, annealing_fraction=fraction)
    assert temperature_at(ecology, progress) == pytest.approx(expected)
