"""Decoding with a key-value cache gives what one parallel pass gives, under every routing rule."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from moe_replication.models.gpt import GPT, GPTOutput
from moe_replication.routing import RoutingContext

BATCH, LENGTH = 3, 20
CAUSAL = RoutingContext(training=False, pool_tokens=BATCH * LENGTH)
CONDITIONS = (
    "dense", "tc", "tc-aux", "tc-loss-free", "ec-sequence", "ec-batch", "et", "et-fallback", "et-normalized",
    "et-released", "et-no-shared", "et-concat", "l1",
)  # fmt: skip


def _tokens(model: GPT) -> torch.Tensor:
    return torch.randint(0, len(model.embedding), (BATCH, LENGTH), generator=torch.Generator().manual_seed(5))


def _masks(output: GPTOutput) -> list[torch.Tensor]:
    batch, length, _ = output.hidden_BTD.shape
    return [routed.selection.mask_NE.view(batch, length, -1) for routed in output.routing]


@torch.no_grad()
def _assert_cached_equals_parallel(model: GPT, counts: list[int]) -> None:
    """Passes of `counts` positions with a cache against one pass without: logits to 1e-4, the same experts."""
    tokens = _tokens(model)
    whole = model(tokens, CAUSAL)
    caches, parts, first = model.empty_caches(), [], 0
    for count in counts:
        parts.append(model(tokens[:, first : first + count], CAUSAL, caches))
        first += count
    assert first == LENGTH
    logits = torch.cat([model.logits(part.hidden_BTD) for part in parts], dim=1)
    expected = model.logits(whole.hidden_BTD)
    assert expected.std() > 0.5
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)
    for layer, mask in enumerate(_masks(whole)):
        assert torch.equal(torch.cat([_masks(part)[layer] for part in parts], dim=1), mask)
        assert mask.any()


@pytest.mark.parametrize("condition", CONDITIONS)
def test_token_by_token_equals_the_parallel_pass(smoke, random_model, condition):
    _assert_cached_equals_parallel(random_model(smoke[condition]), [1] * LENGTH)


@pytest.mark.parametrize("condition", ["dense", "tc-aux", "ec-batch", "et"])
def test_prompt_in_one_pass_then_step_by_step(smoke, random_model, condition):
    _assert_cached_equals_parallel(random_model(smoke[condition]), [12, *[1] * (LENGTH - 12)])


def test_parts_of_any_size(smoke, random_model):
    _assert_cached_equals_parallel(random_model(smoke["et"]), [5, 1, 9, 2, 3])


def test_grouped_query_attention_caches_its_few_heads(smoke, random_model):
    config = smoke["et"]
    model = random_model(replace(config, model=replace(config.model, heads=4, kv_heads=2)))
    _assert_cached_equals_parallel(model, [12, *[1] * (LENGTH - 12)])
    caches = model.empty_caches()
    model(_tokens(model), CAUSAL, caches)
    assert {tuple(cache.key_BGTK.shape) for cache in caches} == {(BATCH, 2, LENGTH, 8)}


def test_a_forgotten_position_shows(smoke, random_model):
    """Negative control: a token that does not follow the cached ones gets other logits."""
    model = random_model(smoke["et"])
    tokens, caches = _tokens(model), model.empty_caches()
    model(tokens[:, :10], CAUSAL, caches)
    skipped = model.logits(model(tokens[:, 11:12], CAUSAL, caches).hidden_BTD[:, -1])
    whole = model.logits(model(tokens[:, :12], CAUSAL).hidden_BTD[:, -1])
    assert (skipped - whole).abs().max() > 1e-2


def test_decoding_leaves_the_routing_state_alone(smoke, random_model):
    model = random_model(smoke["et"])
    before = [{name: value.clone() for name, value in layer.state.state_dict().items()} for layer in model.moe_layers()]
    _assert_cached_equals_parallel(model, [1] * LENGTH)
    for layer, saved in zip(model.moe_layers(), before, strict=True):
        assert layer.state.passes == 0
        assert all(torch.equal(value, saved[name]) for name, value in layer.state.state_dict().items())
