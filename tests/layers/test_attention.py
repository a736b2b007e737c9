from __future__ import annotations

import math

import pytest
import torch

from moe_replication.layers.attention import CausalSelfAttention, KVCache, rotary_angles
from moe_replication.layers.norms import rms_norm, rotated_norm

CPU = torch.device("cpu")


def turned(x_THK: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Of one sequence."""
    return rotated_norm(x_THK[None], cos, sin)[0]


def naive(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turn, then normalise, as the formulas stand."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    x = torch.cat((first * cos + second * sin, second * cos - first * sin), dim=-1)
    return x / (x.square().mean(dim=-1, keepdim=True) + torch.finfo(torch.float32).eps).sqrt()


def test_rms_norm_on_paper():
    # mean square of (3, 4) is 12.5
    expected = [3 / math.sqrt(12.5), 4 / math.sqrt(12.5)]
    assert rms_norm(torch.tensor([3.0, 4.0])).tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", [(5, 7), (3, 1, 16), (1, 1)])
def test_rms_norm_and_its_gradient_against_torch(shape):
    generator = torch.Generator().manual_seed(0)
    x, dy = torch.randn(2, *shape, generator=generator, dtype=torch.float32)
    x[0] = 0.0  # a row of zeros has no direction
    found, expected = (x.clone().requires_grad_() for _ in range(2))
    ours, theirs = rms_norm(found), torch.nn.functional.rms_norm(expected, shape[-1:], eps=1.1920929e-07)
    torch.testing.assert_close(ours, theirs)
    ours.backward(dy)
    theirs.backward(dy)
    torch.testing.assert_close(found.grad, expected.grad, rtol=1e-4, atol=1e-5)


def test_rotated_norm_and_its_gradient_against_the_formulas():
    """In float64 behind the naive one; a transposed gradient, as attention gives it."""
    generator = torch.Generator().manual_seed(0)
    x, dy = torch.randn(2, 3, 9, 2, 6, generator=generator)
    cos, sin = rotary_angles(9, 6, 10000.0, CPU)
    found, expected = x.clone().requires_grad_(), x.double().requires_grad_()
    ours, theirs = rotated_norm(found, cos, sin), naive(expected, cos.double(), sin.double())
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-6)
    ours.backward(dy.transpose(1, 2).contiguous().transpose(1, 2))
    theirs.backward(dy.double())
    torch.testing.assert_close(found.grad.double(), expected.grad, rtol=1e-5, atol=1e-6)


def test_rotary_angles_and_rotation_on_paper():
    cos, sin = rotary_angles(3, 4, 10000.0, CPU)
    # frequencies 10000^0 = 1 and 10000^(-2/4) = .01
    torch.testing.assert_close(cos, torch.tensor([[0, 0], [1, 0.01], [2, 0.02]]).cos())
    rms = math.sqrt(7.5)  # of (1, 2, 3, 4), turned or not
    found = rms * turned(torch.tensor([1.0, 2.0, 3.0, 4.0]).repeat(3, 1, 1), cos, sin)[:, 0]
    assert found[0].tolist() == pytest.approx([1.0, 2.0, 3.0, 4.0], rel=1e-6)
    c, s, c_slow, s_slow = math.cos(1), math.sin(1), math.cos(0.01), math.sin(0.01)
    expected = [c + 3 * s, 2 * c_slow + 4 * s_slow, 3 * c - s, 4 * c_slow - 2 * s_slow]
    assert found[1].tolist() == pytest.approx(expected, rel=1e-6)


def test_rotated_products_depend_on_the_distance_alone():
    cos, sin = rotary_angles(9, 8, 10000.0, CPU)
    pair = torch.randn(2, 1, 1, 8, generator=torch.Generator().manual_seed(0)).expand(2, 9, 1, 8)
    query, key = (turned(part, cos, sin)[:, 0] for part in pair)
    scores = query @ key.mT
    for distance in range(9):
        diagonal = scores.diagonal(-distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-4, atol=1e-5)
    assert scores[:, 0].std() > 0.1


def test_rotation_is_in_float32_and_keeps_the_dtype():
    cos, sin = rotary_angles(512, 4, 10000.0, CPU)
    x = torch.randn(512, 1, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert turned(x, cos, sin).dtype == torch.bfloat16
    torch.testing.assert_close(turned(x, cos, sin), turned(x.float(), cos, sin).bfloat16(), rtol=0, atol=0)


def test_rotation_of_two_positions_on_paper():
    """Width 2, one frequency of 1: position p turns (1, 0) to (cos p, -sin p), here of root mean square 1."""
    cos, sin = rotary_angles(2, 2, 10000.0, CPU)
    found = turned(torch.tensor([1.0, 0.0]).repeat(2, 1, 1), cos, sin)[:, 0]
    torch.testing.assert_close(found / math.sqrt(2), torch.tensor([[1.0, 0.0], [0.54030231, -0.84147098]]))


def test_angles_of_later_positions_are_those_of_the_whole():
    whole, later = rotary_angles(9, 8, 10000.0, CPU), rotary_angles(4, 8, 10000.0, CPU, first=5)
    assert all(torch.equal(part, full[5:]) for part, full in zip(later, whole, strict=True))


WIDTH, HEADS, LENGTH = 16, 4, 6


def _attention(kv_heads: int) -> CausalSelfAttention:
    """Four query heads of width 4, random weights."""
    module = CausalSelfAttention(WIDTH, HEADS, kv_heads)
    generator = torch.Generator().manual_seed(3)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    return module


@pytest.fixture(params=[1, 2, 4])
def attention(request) -> CausalSelfAttention:
    """Multi-query, grouped-query and multi-head attention."""
    return _attention(request.param)


def _inputs(batch: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x = torch.randn(batch, LENGTH, WIDTH, generator=torch.Generator().manual_seed(4))
    return x, *rotary_angles(LENGTH, WIDTH // HEADS, 10000.0, CPU)


def _explicit(attention: CausalSelfAttention, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """One sequence (T, D), head by head and position by position."""
    size, share = WIDTH // HEADS, HEADS // attention.kv_heads
    heads = []
    for head in range(HEADS):
        mine = slice(head * size, (head + 1) * size)
        shared = slice(head // share * size, (head // share + 1) * size)
        q, k, v = x @ attention.query[mine].T, x @ attention.key[shared].T, x @ attention.value[shared].T
        q, k = (naive(part[:, None], cos, sin)[:, 0] for part in (q, k))
        rows = []
        for t in range(LENGTH):
            weights = (k[: t + 1] @ q[t] / math.sqrt(size)).softmax(0)
            rows.append(weights @ v[: t + 1])
        heads.append(torch.stack(rows))
    return torch.cat(heads, dim=1) @ attention.out.T


def test_attention_equals_an_explicit_loop_with_gradients(attention):
    x, cos, sin = _inputs()
    parameters = list(attention.parameters())
    found = attention(x, cos, sin)
    expected = torch.stack([_explicit(attention, sequence, cos, sin) for sequence in x])
    torch.testing.assert_close(found, expected)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(5))
    gradients = (torch.autograd.grad((out * weights).sum(), parameters) for out in (found, expected))
    for mine, reference in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-4)


def test_grouped_heads_equal_repeated_ones():
    """Two key and value heads for four query heads: heads 0 and 1 read the first, 2 and 3 the second."""
    grouped, full = _attention(2), CausalSelfAttention(WIDTH, HEADS, HEADS)
    with torch.no_grad():
        for name, weight in grouped.named_parameters():
            if name in ("key", "value"):
                weight = weight.view(2, 4, WIDTH).repeat_interleave(2, dim=0).reshape(WIDTH, WIDTH)
            getattr(full, name).copy_(weight)
    torch.testing.assert_close(grouped(*_inputs()), full(*_inputs()))


@pytest.mark.parametrize(("kv_heads", "rows"), [(1, 4), (2, 8), (4, 16)])
def test_shapes_by_key_and_value_heads(kv_heads, rows):
    shapes = {name: tuple(p.shape) for name, p in CausalSelfAttention(WIDTH, HEADS, kv_heads).named_parameters()}
    assert shapes == {"query": (16, 16), "key": (rows, 16), "value": (rows, 16), "out": (16, 16)}


def test_query_and_key_scale_do_not_matter(attention):
    """QK norm: only the direction of queries and keys counts."""
    inputs = _inputs()
    before = attention(*inputs)
    with torch.no_grad():
        attention.query.mul_(50.0)
        attention.key.mul_(0.5)
    torch.testing.assert_close(attention(*inputs), before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("steps", [(1,) * 6, (4, 1, 1), (1, 3, 2), (6,)])
def test_cached_steps_equal_the_parallel_pass(attention, steps):
    x, cos, sin = _inputs()
    cache, first, parts = KVCache(), 0, []
    for count in steps:
        assert cache.length == first
        here = slice(first, first + count)
        parts.append(attention(x[:, here], cos[here], sin[here], cache))
        first += count
    torch.testing.assert_close(torch.cat(parts, dim=1), attention(x, cos, sin))
    assert cache.key_BGTK.shape == cache.value_BGTK.shape == (2, attention.kv_heads, LENGTH, 4)
