from __future__ import annotations

import pytest
import torch

from moe_replication.layers.experts import Experts, expert_ffn

WIDTH, OUT, TIERS, HIDDEN = 5, 4, (2, 1, 3), (3, 7, 2)
EXPERTS = sum(TIERS)


@pytest.fixture
def experts() -> Experts:
    """Six experts in three tiers of odd sizes."""
    module = Experts(WIDTH, OUT, TIERS, HIDDEN, "per_expert").double()
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    return module


def _weights(module: Experts) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(up, down) of every expert by plain indexing."""
    pairs = zip(module.up, module.down, strict=True)
    return [(up[i], down[i]) for up, down in pairs for i in range(len(up))]


def _double_loop(module, x, mask, gates):
    rows = []
    for token in range(len(x)):
        row = torch.zeros(OUT, dtype=x.dtype)
        for expert, (up, down) in enumerate(_weights(module)):
            if mask[token, expert]:
                row = row + gates[token, expert] * (down @ torch.relu(up @ x[token]) ** 2)
        rows.append(row)
    return torch.stack(rows)


def _masks(tokens: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    fan_out = torch.zeros(tokens, EXPERTS, dtype=torch.bool)
    for token in range(tokens):
        fan_out[token, torch.randperm(EXPERTS, generator=generator)[: token % (EXPERTS + 1)]] = True
    without_expert_2 = torch.rand(tokens, EXPERTS, generator=generator) < 0.5
    without_expert_2[:, 2] = False
    return {
        "fan-out 0 to E": fan_out,
        "an expert without tokens": without_expert_2,
        "all": torch.ones_like(fan_out),
        "none": torch.zeros_like(fan_out),
    }


@pytest.mark.parametrize("case", list(_masks(1)))
@pytest.mark.parametrize("tokens", [1, 7, 13])
def test_dispatch_equals_a_double_loop_in_outputs_and_all_gradients(experts, case, tokens):
    mask = _masks(tokens)[case]
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(tokens, WIDTH, generator=generator, dtype=torch.float64)
    gates = torch.rand(tokens, EXPERTS, generator=generator, dtype=torch.float64)
    cotangent = torch.randn(tokens, OUT, generator=generator, dtype=torch.float64)
    results = []
    for forward in (experts, lambda *inputs: _double_loop(experts, *inputs)):
        inputs = (x.clone().requires_grad_(), mask, gates.clone().requires_grad_())
        leaves = [inputs[0], inputs[2], *experts.parameters()]
        y = forward(*inputs)
        # Gates weigh in float32, so the products carry its precision.
        loss = (y * cotangent).sum() + 0.0 * sum(leaf.sum() for leaf in leaves)
        results.append((y, torch.autograd.grad(loss, leaves)))
    (fast, fast_gradients), (slow, slow_gradients) = results
    torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-5)
    for one, other in zip(fast_gradients, slow_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_expert_without_tokens_gets_an_exactly_zero_gradient(experts, dtype):
    experts.to(dtype)
    mask = torch.ones(9, EXPERTS, dtype=torch.bool)
    mask[:, [1, 2]] = False
    y = experts(torch.randn(9, WIDTH, dtype=dtype), mask, torch.rand(9, EXPERTS))
    assert y.dtype == dtype
    y.float().square().sum().backward()
    for stack in (experts.up, experts.down):
        assert stack[0].grad[1].count_nonzero() == stack[1].grad.count_nonzero() == 0
        assert stack[0].grad[0].count_nonzero() > 0
        assert stack[2].grad.flatten(1).any(dim=1).all()


def test_bfloat16_gradients_are_no_worse_than_autograds(experts):
    """Against float64: the written-out backward pass rounds no more than autograd's of the same products."""
    mask = _masks(13)["fan-out 0 to E"]
    x, gates = torch.randn(13, WIDTH, dtype=torch.float64), torch.rand(13, EXPERTS)
    cotangent, errors = torch.randn(13, OUT, dtype=torch.float64), []
    exact_inputs = [x.requires_grad_(), gates.double().requires_grad_(), *experts.parameters()]
    exact = torch.autograd.grad((_double_loop(experts, x, mask, exact_inputs[1]) * cotangent).sum(), exact_inputs)
    low = Experts(WIDTH, OUT, TIERS, HIDDEN, "per_expert").bfloat16()
    low.load_state_dict({name: value.bfloat16() for name, value in experts.state_dict().items()})
    for forward in (low, lambda *inputs: _double_loop(low, *inputs)):
        inputs = [x.detach().bfloat16().requires_grad_(), gates.clone().requires_grad_(), *low.parameters()]
        y = forward(inputs[0], mask, inputs[1])
        found = torch.autograd.grad((y.float() * cotangent.float()).sum(), inputs)
        errors.append([(one - right).norm() / right.norm() for one, right in zip(found, exact, strict=True)])
    assert all(mine < 1.5 * other + 1e-3 for mine, other in zip(*errors, strict=True)), errors


def test_hidden_units_are_kept_once():
    """Of every assignment autograd keeps hidden units, gate, token and expert: no input, output or square."""
    module, tokens = Experts(8, 8, (4,), (16,), "per_expert"), 32
    x = torch.randn(tokens, 8, requires_grad=True)
    mask = torch.arange(4).expand(tokens, 4) == torch.arange(tokens)[:, None] % 4
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor is not x and not any(tensor.data_ptr() == p.data_ptr() for p in module.parameters()):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module(x, mask, torch.rand(tokens, 4))
    kept.pop(x.data_ptr(), None)
    assert sum(kept.values()) == tokens * (16 * 4 + 4 + 2 * 8)


def test_gates_outside_the_mask_do_not_matter(experts):
    x = torch.randn(6, WIDTH, dtype=torch.float64)
    mask = _masks(6)["fan-out 0 to E"]
    gates = torch.rand(6, EXPERTS)
    poisoned = gates.masked_fill(~mask, torch.nan)
    assert torch.equal(experts(x, mask, gates), experts(x, mask, poisoned))


def test_all_outputs_equal_a_loop_with_gradients(experts):
    x = torch.randn(7, WIDTH, dtype=torch.float64, requires_grad=True)
    leaves = [x, *experts.parameters()]
    fast = experts.all_outputs(x)
    slow = torch.stack([torch.relu(x @ up.T) ** 2 @ down.T for up, down in _weights(experts)])
    torch.testing.assert_close(fast, slow)
    cotangent = torch.randn_like(fast)
    for one, other in zip(
        torch.autograd.grad((fast * cotangent).sum(), leaves),
        torch.autograd.grad((slow * cotangent).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_feed_forward_on_paper():
    up = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    down = torch.tensor([[1.0, 10.0]])
    # up x = (3, -1) and (3, 1); relu^2 = (9, 0) and (9, 1)
    assert expert_ffn(torch.tensor([[1.0, 2.0], [2.0, 1.0]]), up, down).tolist() == [[9.0], [19.0]]


def test_weights_are_stored_expert_out_in(experts):
    assert [tuple(p.shape) for p in experts.up] == [(2, 3, 5), (1, 7, 5), (3, 2, 5)]
    assert [tuple(p.shape) for p in experts.down] == [(2, 4, 3), (1, 4, 7), (3, 4, 2)]


def test_concatenated_storage_computes_the_same(experts):
    other = Experts(WIDTH, OUT, TIERS, HIDDEN, "concatenated").double()
    assert [tuple(p.shape) for p in other.up] == [(6, 5), (7, 5), (6, 5)]
    assert [tuple(p.shape) for p in other.down] == [(6, 4), (7, 4), (6, 4)]
    with torch.no_grad():
        for up, down, (up_EHD, down_EDH) in zip(other.up, other.down, experts.stacks(), strict=True):
            up.copy_(torch.cat(list(up_EHD)))
            down.copy_(torch.cat([down_DH.T for down_DH in down_EDH]))
    x, gates = torch.randn(9, WIDTH, dtype=torch.float64), torch.rand(9, EXPERTS)
    mask = _masks(9)["fan-out 0 to E"]
    cotangent = torch.randn(9, OUT, dtype=torch.float64)
    for module in (experts, other):
        (module(x, mask, gates) * cotangent).sum().backward()
    assert torch.equal(experts(x, mask, gates), other(x, mask, gates))
    torch.testing.assert_close(experts.all_outputs(x), other.all_outputs(x))
    for tier in range(len(TIERS)):
        torch.testing.assert_close(other.up[tier].grad, experts.up[tier].grad.flatten(0, 1))
        tall = torch.cat([gradient.T for gradient in experts.down[tier].grad])
        torch.testing.assert_close(other.down[tier].grad, tall)
