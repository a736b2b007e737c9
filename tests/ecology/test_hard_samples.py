from __future__ import annotations

import numpy as np
import pytest

from moe_replication.ecology.hard_samples import hard_sample_ratio

LOSSES = np.array([0.1, 2.0, 0.2, 3.0, 0.3])
NORMS = np.array([1.0, 4.0, 1.0, 6.0, 3.0])


@pytest.mark.parametrize(("share", "expected"), [(0.2, 2.0), (0.1, 2.0), (0.4, 5 / 3), (0.21, 5 / 3), (1.0, 1.0)])
def test_ratio_by_hand(share, expected):
    """All pull 3 on average, the hardest 6, the two hardest 5; at least one sample is hard."""
    assert hard_sample_ratio(LOSSES, NORMS, share) == pytest.approx(expected)


def test_no_ratio_where_nothing_pulls():
    assert hard_sample_ratio(LOSSES, np.zeros(5), 0.2) is None
