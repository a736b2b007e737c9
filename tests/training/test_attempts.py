from __future__ import annotations

import pytest

from moe_replication.errors import Stopped, TrainingDiverged
from moe_replication.training.attempts import LOG, Attempts


def attempt(folder, ends_with=None, steps=(0, 0)):
    """One attempt from steps[0] to steps[1]; the counts as the record would have them."""
    attempts, reached = Attempts(folder), list(steps)
    with attempts.attempt(lambda: reached.pop(0)):
        counts = attempts.counts()
        if ends_with is not None:
            raise ends_with
    return counts


def test_a_run_that_nothing_disturbs_started_once(tmp_path):
    assert attempt(tmp_path) == {"starts": 1, "stopped": 0, "diverged": 0, "killed": 0}


def test_every_kind_of_end_is_counted(tmp_path):
    with pytest.raises(Stopped):
        attempt(tmp_path, Stopped(75), steps=(0, 7))
    with pytest.raises(TrainingDiverged):
        attempt(tmp_path, TrainingDiverged("loss is nan"))
    with pytest.raises(OSError, match="disk full"):
        attempt(tmp_path, OSError("disk full"), steps=(7,))
    assert attempt(tmp_path, steps=(7, 20)) == {"starts": 4, "stopped": 1, "diverged": 1, "killed": 1}
    assert "stopped after step 7 at 20" in (tmp_path / LOG).read_text(encoding="utf-8")


def test_an_attempt_that_finished_before_a_neighbour_failed_was_not_killed(tmp_path):
    attempt(tmp_path)
    assert attempt(tmp_path) == {"starts": 2, "stopped": 0, "diverged": 0, "killed": 0}


def test_other_ranks_write_nothing(tmp_path):
    with Attempts(None).attempt(lambda: 0):
        pass
    assert list(tmp_path.iterdir()) == []
