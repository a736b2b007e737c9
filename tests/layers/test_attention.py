from __future__ import annotations

import math

import pytest
import torch

from moe_replication.layers.attention import CausalSelfAttention, rms_norm, rotary_angles, rotate

CPU = torch.device("cpu")


def test_rms_norm_on_paper():
    # mean square of (3, 4) is 12.5
    expected = [3 / math.sqrt(12.5), 4 / math.sqrt(12.5)]
    assert rms_norm(torch.tensor([3.0, 4.0])).tolist() == pytest.approx(expected, rel=1e-5)


def test_rotary_angles_and_rotation_on_paper():
    cos, sin = rotary_angles(3, 4, 10000.0, CPU)
    # frequencies 10000^0 = 1 and 10000^(-2/4) = .01
    torch.testing.assert_close(cos, torch.tensor([[0, 0], [1, 0.01], [2, 0.02]]).cos())
    x = torch.tensor([1.0, 2.0, 3.0, 4.0]).repeat(1, 1, 3, 1)
    turned = rotate(x, cos, sin)[0, 0]
    assert turned[0].tolist() == [1.0, 2.0, 3.0, 4.0]
    c, s, c_slow, s_slow = math.cos(1), math.sin(1), math.cos(0.01), math.sin(0.01)
    expected = [c + 3 * s, 2 * c_slow + 4 * s_slow, 3 * c - s, 4 * c_slow - 2 * s_slow]
    assert turned[1].tolist() == pytest.approx(expected, rel=1e-6)


def test_rotated_products_depend_on_the_distance_alone():
    cos, sin = rotary_angles(9, 8, 10000.0, CPU)
    query, key = torch.randn(2, 1, 1, 1, 8, generator=torch.Generator().manual_seed(0)).expand(2, 1, 1, 9, 8)
    scores = (rotate(query, cos, sin) @ rotate(key, cos, sin).mT)[0, 0]
    for distance in range(9):
        diagonal = scores.diagonal(-distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-4, atol=1e-5)
    assert scores[:, 0].std() > 0.1


def test_rotation_is_in_float32_and_keeps_the_dtype():
    cos, sin = rotary_angles(512, 4, 10000.0, CPU)
    x = torch.ones(1, 1, 512, 4, dtype=torch.bfloat16)
    assert rotate(x, cos, sin).dtype == torch.bfloat16
    torch.testing.assert_close(rotate(x, cos, sin), rotate(x.float(), cos, sin).bfloat16())


@pytest.fixture
def attention() -> CausalSelfAttention:
    """Width 8, two heads, random weights."""
    module = CausalSelfAttention(8, 2)
    generator = torch.Generator().manual_seed(3)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    return module


def test_attention_equals_an_explicit_loop(attention):
    x = torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(4))
    cos, sin = rotary_angles(5, 4, 10000.0, CPU)
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        q, k, v = (x[0] @ weight[head].T for weight in (attention.query, attention.key, attention.value))
        q, k = (rms_norm(rotate(part[None, None], cos, sin))[0, 0] for part in (q, k))
        rows = []
        for t in range(5):
            weights = (k[: t + 1] @ q[t] / math.sqrt(4)).softmax(0)
            rows.append(weights @ v[: t + 1])
        heads.append(torch.stack(rows))
    expected = torch.cat(heads, dim=1) @ attention.out.T
    torch.testing.assert_close(attention(x, cos, sin)[0], expected)


def test_query_and_key_scale_do_not_matter(attention):
    x = torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(4))
    cos, sin = rotary_angles(5, 4, 10000.0, CPU)
    before = attention(x, cos, sin)
    with torch.no_grad():
        attention.query.mul_(50.0)
        attention.key.mul_(0.5)
    torch.testing.assert_close(attention(x, cos, sin), before, rtol=1e-4, atol=1e-4)
