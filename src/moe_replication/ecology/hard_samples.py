"""How strongly hard samples pull (paper B, hard-sample gradient).

Legend: N samples.
"""

from __future__ import annotations

import math

import numpy as np


def hard_sample_ratio(losses_N: np.ndarray, norms_N: np.ndarray, share: float) -> float | None:
    """Mean gradient norm of the `share` of samples with the highest loss, over the mean of all; None where none pulls.

    Reconstruction: no public source defines the hard-sample gradient.
    """
    hardest = np.argsort(-losses_N, kind="stable")[: max(1, math.ceil(share * len(losses_N)))]
    mean = norms_N.mean()
    return float(norms_N[hardest].mean() / mean) if mean > 0 else None
