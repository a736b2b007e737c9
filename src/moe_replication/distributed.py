"""Collectives over data-parallel ranks; the identity on one process."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of data-parallel ranks."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's rank."""
    return dist.get_rank() if world_size() > 1 else 0


def mean_over_ranks(value: Tensor) -> Tensor:
    """Mean of a float tensor over ranks; every rank gets the same."""
    if world_size() == 1:
        return value
    value = value.clone()
    dist.all_reduce(value)
    return value / world_size()


def gather_rows(rows_NE: Tensor) -> Tensor:
    """Rows of all ranks in rank order, without gradient; equal counts on every rank."""
    if world_size() == 1:
        return rows_NE
    parts = [torch.empty_like(rows_NE) for _ in range(world_size())]
    dist.all_gather(parts, rows_NE.contiguous())
    return torch.cat(parts)


def first_over_ranks(text: str | None) -> str | None:
    """The text of the first rank that has one; every rank gets the same."""
    if world_size() == 1:
        return text
    texts: list[str | None] = [None] * world_size()
    dist.all_gather_object(texts, text)
    return next((found for found in texts if found is not None), None)
