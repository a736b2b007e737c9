"""Paper B's vision training step of the cpu scale, v1, by part; one log line's worth of steps a round."""

from __future__ import annotations

from benchmarks.clock import part_rows
from benchmarks.trainers import deterministic, timed_training

CONDITION = "v1"


def run(quick: bool) -> list[dict]:
    """Rows of the whole step and of its parts."""
    deterministic()
    timed = timed_training(CONDITION, 0.25)
    count = timed.trainer.run.config.training.log_every
    rounds = []
    for _ in range(3 if quick else 6):
        timed.step(count)
        rounds.append(timed.clock.take())
    images = timed.trainer.task.samples_per_step
    rows = part_rows("vision", CONDITION, rounds[1:], count, dtype=str(timed.trainer.engine.dtype))
    rows[0]["images_per_second"] = images / rows[0]["seconds"]
    return rows
