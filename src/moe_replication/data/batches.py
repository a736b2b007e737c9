"""The order in which training reads its data: pure functions of seed and step, so resuming is exact."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from moe_replication.errors import BadInput


class Tokens(Protocol):
    """Anything that has a length and contiguous slices: an array, a memory map, a TokenStream."""

    def __len__(self) -> int: ...
    def __getitem__(self, window: slice) -> np.ndarray: ...


class LanguageBatches:
    """Windows of `sequence_length` T tokens, B a batch; each window once an epoch, shuffled anew every epoch.

    Windows do not overlap; targets are the inputs shifted by one, so a window's last target is the next
    window's first input. Batches run on over the end of an epoch; tokens that fill no window stay unused.
    """

    def __init__(self, tokens: Tokens, sequence_length: int, sequences_per_batch: int, seed: int) -> None:
        if sequence_length < 1 or sequences_per_batch < 1:
            raise BadInput(
                f"sequence_length {sequence_length} and sequences_per_batch {sequences_per_batch} must be at least 1"
            )
        self.windows = max(len(tokens) - 1, 0) // sequence_length
        if self.windows < sequences_per_batch:
            raise BadInput(
                f"tokens: {len(tokens)}, too few for a batch of {sequences_per_batch} x {sequence_length} "
                f"+ 1; raise the token limit or lower the batch"
            )
        self._tokens = tokens
        self._length = sequence_length
        self._batch = sequences_per_batch
        self._seed = seed
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """(inputs, targets), both int64 [B, T], of step 0, 1, ..."""
        positions = range(step * self._batch, (step + 1) * self._batch)
        rows = np.stack([self._window(position) for position in positions]).astype(np.int64)
        return rows[:, :-1].copy(), rows[:, 1:].copy()

    def _window(self, position: int) -> np.ndarray:
        epoch, place = divmod(position, self.windows)
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([self._seed, epoch]).permutation(self.windows))
        start = int(self._order[1][place]) * self._length
        return self._tokens[start : start + self._length + 1]


class ImageBatches:
    """Indices of `count` images in batches, each image once an epoch, the last short batch kept."""

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        if count < 1 or batch_size < 1:
            raise BadInput(f"count {count} and batch_size {batch_size} must be at least 1")
        self._count, self._batch, self._seed = count, batch_size, seed

    def epoch(self, epoch: int) -> list[np.ndarray]:
        """Index arrays (int64) of epoch 0, 1, ..."""
        order = np.random.default_rng([self._seed, epoch]).permutation(self._count)
        return [order[at : at + self._batch] for at in range(0, self._count, self._batch)]
