"""Learning-rate multipliers as pure functions of the step."""

from __future__ import annotations


def linear_decay(step: int, steps: int, decay_fraction: float, final_fraction: float) -> float:
    """1, falling linearly over the last `decay_fraction` of the horizon to `final_fraction` at step `steps`.

    Paper A (optimisers): over all of it to 0.1; its released code: over the last fifth to 0.
    """
    gone = max(0.0, 1.0 - (steps - step) / (decay_fraction * steps))
    return 1.0 - (1.0 - final_fraction) * gone


def linear_warmup(step: int, warmup_steps: int) -> float:
    """1/w, 2/w, ... 1 over the first w steps; 1 without warm-up."""
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps > 0 else 1.0


def horizon_decay(beta: float, reference_steps: int | None, steps: int) -> float:
    """Moving-average decay whose memory 1/(1 - beta) is the same share of `steps` as beta's of the reference.

    Not below 0: a horizon shorter than the memory's share of one step leaves no average.
    """
    if reference_steps is None:
        return beta
    return max(0.0, 1.0 - (1.0 - beta) * reference_steps / steps)
