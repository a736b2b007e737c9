"""Muon's orthogonalisation against DeepSpeed's own and against singular values."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from moe_replication.training.newton_schulz import orthogonalized

SHAPES = [(12, 5), (5, 12), (8, 8), (3, 12, 5), (3, 5, 12), (3, 8, 8), (1, 7)]


@pytest.fixture(scope="module")
def deepspeeds():
    """DeepSpeed's function, from a copy of its module that nothing has replaced."""
    import moe_replication.training.engine  # noqa: F401 - imports DeepSpeed without its compiler

    spec = importlib.util.find_spec("deepspeed.runtime.zero.muon.original_muon")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.zeropower_via_gram_newtonschulz


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_it_is_deepspeeds(deepspeeds, shape, steps):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = orthogonalized(matrices, steps)
    torch.testing.assert_close(found, deepspeeds(matrices, steps), rtol=0, atol=2e-6)
    assert found.is_contiguous()


@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_follow_the_quintic(shape):
    """Five times s -> 3.4445 s - 4.775 s^3 + 2.0315 s^5, of singular values that begin at Frobenius norm 1."""
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    s = torch.linalg.svdvals(matrices / matrices.norm(dim=(-2, -1), keepdim=True))
    for _ in range(5):
        s = 3.4445 * s - 4.775 * s**3 + 2.0315 * s**5
    found = torch.linalg.svdvals(orthogonalized(matrices.float(), 5).double())
    torch.testing.assert_close(found, s.sort(dim=-1, descending=True).values, rtol=0, atol=1e-5)


def test_a_matrix_of_zeros_stays_zero():
    assert not orthogonalized(torch.zeros(2, 4, 6), 5).any()


def test_deepspeed_uses_it():
    """Where there is no GPU."""
    import moe_replication.training.engine  # noqa: F401, I001
    from deepspeed.runtime.zero.muon import original_muon

    if torch.cuda.is_available():
        pytest.skip("DeepSpeed's own serves on a GPU")
    assert original_muon.zeropower_via_gram_newtonschulz is orthogonalized
