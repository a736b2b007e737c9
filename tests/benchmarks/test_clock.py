"""Parts within parts are counted once; rows name shares of the whole."""

from __future__ import annotations

import pytest
from benchmarks.clock import Clock, part_rows

from benchmarks import clock as module


@pytest.fixture
def ticks(monkeypatch):
    """A clock that moves on by one second a look."""
    seconds = iter(range(100))
    monkeypatch.setattr(module.time, "perf_counter", lambda: float(next(seconds)))


def test_inner_parts_are_taken_off_the_outer(ticks):
    clock = Clock()
    with clock.part("outer"):
        clock.timed("inner", lambda: None)()
        clock.timed("inner", lambda: None)()
    assert clock.take() == {"inner": 2.0, "outer": 3.0}
    assert clock.take() == {}


def test_rows_begin_with_the_whole_and_go_by_size():
    rows = part_rows("step", "et", [{"a": 2.0, "b": 6.0}, {"a": 1.0, "b": 7.0}], steps=4)
    assert [row["candidate"] for row in rows] == ["step", "b", "a"]
    assert rows[0]["seconds"] == 2.0
    assert sum(row["share"] for row in rows[1:]) == pytest.approx(1.0)
