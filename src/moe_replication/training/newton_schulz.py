"""Muon's orthogonalisation as DeepSpeed computes it, every sum of products in one call.

DeepSpeed writes b R + c R R as two scaled matrices and a sum; on a CPU those passes over memory cost up to half as
much as the products.
"""

from __future__ import annotations

import torch
from torch import Tensor

A, B, C = 3.4445, -4.7750, 2.0315  # Jordan et al. 2024
RESTART = 2  # steps after which the Gram matrix is taken anew
EPSILON = 1e-7


def orthogonalized(G: Tensor, steps: int) -> Tensor:
    """(..., rows, columns) with singular values moved to about 1 by quintic Newton-Schulz steps, in float32.

    The steps of DeepSpeed's zeropower_via_gram_newtonschulz: they iterate on the smaller side's Gram matrix.
    """
    is_tall = G.shape[-2] > G.shape[-1]
    x = (G.mT if is_tall else G).float()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + EPSILON)
    if x.shape[-2] == x.shape[-1]:
        for _ in range(steps):
            gram = x @ x.mT
            x = _plus(x, _plus(gram, gram, gram, B, C), x, A)
        return x
    if steps > RESTART:
        x, steps = _power(x @ x.mT, RESTART) @ x, steps - RESTART
    q = _power(x @ x.mT, steps)
    return x.mT @ q.mT if is_tall else q @ x  # contiguous, as DeepSpeed flattens it


def _power(gram: Tensor, steps: int) -> Tensor:
    """The product of so many steps' factors of X."""
    for step in range(steps):
        z = _plus(gram, gram, gram, B, C)
        if step == 0:
            q = z.clone()
            q.diagonal(dim1=-2, dim2=-1).add_(A)
        else:
            q = _plus(q, z, q, A)
        if step < steps - 1:
            rz = _plus(gram, z, gram, A)
            gram = _plus(rz, z, rz, A)
    return q


def _plus(base: Tensor, left: Tensor, right: Tensor, beta: float, alpha: float = 1.0) -> Tensor:
    """beta base + alpha left right, for one matrix or a stack of them."""
    if base.ndim == 2:
        return torch.addmm(base, left, right, beta=beta, alpha=alpha)
    return torch.baddbmm(base, left, right, beta=beta, alpha=alpha)
