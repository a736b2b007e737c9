"""Four processes train what one trains, and hold one state of thresholds and biases."""

from __future__ import annotations

import pytest

from training_on_ranks import check_same_states, copy_for_ranks, largest_difference, train, train_and_tell

pytestmark = pytest.mark.slow
# Sums over four quarters differ from sums over the whole in the last digits, and training spreads that.
TOLERANCE = 1e-5
CONDITIONS = ("dense", "tc-aux", "tc-aux-global", "tc-loss-free", "ec-batch", "et")
COLUMNS = ("train_loss", "val_loss", "usage_mean", "fanout_mean", "saturation", "cutoff_mean")


def test_four_ranks_train_like_one(project, tmp_path):
    one = train(copy_for_ranks(project, tmp_path / "one", 1, CONDITIONS), *CONDITIONS)
    root = copy_for_ranks(project, tmp_path / "four", 4, CONDITIONS)
    four = train_and_tell(root, 4, *CONDITIONS)
    for condition in CONDITIONS:
        found = largest_difference(one[condition], four[condition], COLUMNS)
        assert max(found.values()) <= TOLERANCE, (condition, found)
    for condition in CONDITIONS[1:]:
        check_same_states(root, condition, 4)
