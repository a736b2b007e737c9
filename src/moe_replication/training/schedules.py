"""Learning-rate multipliers as pure functions of the step."""

from __future__ import annotations


def linear_decay(step: int, steps: int, final_fraction: float) -> float:
    """1 at step 0, falling linearly to `final_fraction` at step `steps` (paper A, optimisers)."""
    return 1.0 - (1.0 - final_fraction) * step / steps


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
