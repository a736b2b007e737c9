"""Time of collectives between GPUs: bytes over bandwidth, and a latency that grows with the depth of a tree.

In a node every GPU has its link; between nodes every GPU has its own network card, and NCCL's rings use the cards of a
node side by side, so that reductions and gathers run at the smaller of a GPU's link and a node's cards together. Tokens
that go to single GPUs have one card.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """Links of a kind of GPU, GB/s in one direction; `origins` says where each number comes from."""

    gpus_per_node: int
    link_gb_s: float
    card_gb_s: float
    share: float
    link_microseconds: float
    card_microseconds: float
    memory_gb_s: float
    origins: dict[str, str]

    def all_reduce(self, size: float, gpus: int) -> float:
        """Seconds until all GPUs have the sum of their `size` bytes: a reduce-scatter and an all-gather."""
        return 2 * self.all_gather(size, gpus)

    def all_gather(self, size: float, gpus: int) -> float:
        """Seconds until all GPUs have all of `size` bytes, of which each had an equal part."""
        if gpus == 1:
            return 0.0
        return (gpus - 1) / gpus * size / self._together(gpus) + self._latency(gpus)

    def all_to_all(self, size: float, gpus: int) -> float:
        """Seconds until each GPU has sent an equal part of its `size` bytes to every other."""
        if gpus == 1:
            return 0.0
        near = min(gpus, self.gpus_per_node)
        inside = (near - 1) / gpus * size / (self.link_gb_s * self.share * 1e9)
        outside = (gpus - near) / gpus * size / (self.card_gb_s * self.share * 1e9)
        return max(inside, outside) + self._latency(gpus)

    def _together(self, gpus: int) -> float:
        one = self.link_gb_s
        if gpus > self.gpus_per_node:
            one = min(one, self.card_gb_s * self.gpus_per_node)
        return one * self.share * 1e9

    def _latency(self, gpus: int) -> float:
        near = min(gpus, self.gpus_per_node)
        nodes = -(-gpus // self.gpus_per_node)
        return (math.log2(near) * self.link_microseconds + math.log2(nodes) * self.card_microseconds) * 1e-6
