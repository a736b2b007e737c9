from __future__ import annotations

import pytest

from moe_replication.errors import Stopped, TrainingDiverged
from moe_replication.training.attempts import Attempts

NONE = {"stopped": 0, "diverged": 0, "failed": 0, "killed": 0, "other_settings": 0}


def attempt(folder, ends_with=None, key="aaaa", step=0):
    """One attempt that ends after `step`; the counts as the record would have them."""
    attempts = Attempts(folder, key)
    with attempts.attempt():
        attempts.step = lambda: step
        counts = attempts.counts()
        if ends_with is not None:
            raise ends_with
    return counts


def test_a_run_that_nothing_disturbs_started_once(tmp_path):
    assert attempt(tmp_path) == NONE | {"starts": 1}


def test_every_kind_of_end_is_counted(tmp_path):
    with pytest.raises(Stopped):
        attempt(tmp_path, Stopped(75), step=7)
    with pytest.raises(TrainingDiverged):
        attempt(tmp_path, TrainingDiverged("loss is nan"))
    with pytest.raises(OSError, match="disk full"):
        attempt(tmp_path, OSError("disk full"))
    with pytest.raises(KeyboardInterrupt):  # goes without a last word
        attempt(tmp_path, KeyboardInterrupt())
    assert attempt(tmp_path) == NONE | {"starts": 5, "stopped": 1, "diverged": 1, "failed": 1, "killed": 1}
    log = (tmp_path / "attempts.log").read_text(encoding="utf-8")
    assert "aaaa stopped after step 7 at 20" in log
    assert ", OSError\n" in log


def test_attempts_under_other_settings_stay_on_record(tmp_path):
    with pytest.raises(TrainingDiverged):
        attempt(tmp_path, TrainingDiverged("loss is nan"), key="bbbb")
    attempt(tmp_path, key="bbbb")
    assert attempt(tmp_path) == NONE | {"starts": 1, "other_settings": 2}


def test_an_attempt_that_finished_before_was_not_killed(tmp_path):
    attempt(tmp_path)
    assert attempt(tmp_path) == NONE | {"starts": 2}


def test_a_torn_last_line_is_passed_over(tmp_path):
    attempt(tmp_path)
    with open(tmp_path / "attempts.log", "a", encoding="utf-8") as log:
        log.write("aaaa\n\n")
    assert attempt(tmp_path) == NONE | {"starts": 2}


def test_a_garbled_line_costs_that_line_and_not_the_finished_run(tmp_path):
    """The counts are asked for after the training, when everything is done but the record."""
    attempt(tmp_path)
    with open(tmp_path / "attempts.log", "ab") as log:
        log.write(b"aaaa start\xffed after step 0\n\x80\xfe\n")
    assert attempt(tmp_path) == NONE | {"starts": 2}


def test_other_ranks_write_nothing(tmp_path):
    with Attempts(None, "aaaa").attempt():
        pass
    assert list(tmp_path.iterdir()) == []
