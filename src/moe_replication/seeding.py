"""Random streams derived from (run seed, purpose): no draw depends on what another part of a run drew."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive_seed(seed: int, purpose: str) -> int:
    """A 63-bit seed for one purpose of one run."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def torch_generator(seed: int, purpose: str) -> torch.Generator:
    """A CPU generator for one purpose of one run."""
    import torch

    return torch.Generator().manual_seed(derive_seed(seed, purpose))
