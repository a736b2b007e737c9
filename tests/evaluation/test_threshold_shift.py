from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import tensor

from moe_replication.evaluation.checkpoints import causal_context
from moe_replication.evaluation.documents import Text
from moe_replication.evaluation.routing_probe import routed_batches
from moe_replication.evaluation.threshold_shift import decode_batches, load_statistics, prefill_batches, shift_rows

# One layer, five tokens, two experts; k = 2 * 1 / 2 = 1 in batches of two tokens, the fifth is left out.
MASK_LNE = tensor([[[1, 0], [1, 0], [0, 0], [1, 1], [1, 1]]], dtype=torch.bool)
LOSSES_N = tensor([1.0, 2.0, 3.0, 4.0, 90.0])


def text_of(*lengths: int, vocabulary: int = 2) -> Text:
    ids = np.random.default_rng(0).integers(1, vocabulary, size=sum(lengths) + 1)
    return Text(domain="code", ids=ids, starts_D=np.cumsum([0, *lengths[:-1]]))


def prefill(mask_LNE, losses_N, size):
    return load_statistics(mask_LNE, losses_N, torch.from_numpy(prefill_batches(mask_LNE.shape[1], size)), top_k=1)


def test_batches_of_two_worked_by_hand():
    # Loads by batch: (2, 0) and (1, 1).
    assert prefill(MASK_LNE, LOSSES_N, 2) == {
        "loss": 2.5, "usage_mean": 0.5, "usage_low": 0.25, "usage_high": 0.75,
        "load_max_over_mean": 1.5, "load_worst": 2.0, "zero_expert_share": 0.25, "tokens": 4,
    }  # fmt: skip


def test_two_sequences_side_by_side_worked_by_hand():
    # Tokens 0 and 2, then 1 and 3: loads (1, 0) and (2, 1).
    found = load_statistics(MASK_LNE, LOSSES_N, tensor([[0, 2], [1, 3]]), top_k=1)
    assert found == {
        "loss": 2.5, "usage_mean": 0.5, "usage_low": 0.25, "usage_high": 0.75,
        "load_max_over_mean": pytest.approx((2 + 4 / 3) / 2), "load_worst": 2.0, "zero_expert_share": 0.25, "tokens": 4,
    }  # fmt: skip


def test_single_tokens_leave_out_those_without_expert():
    row = prefill(MASK_LNE[:, :4], LOSSES_N[:4], 1)
    assert row["load_max_over_mean"] == pytest.approx((2 + 2 + 1) / 3)
    assert row["load_worst"] == 2.0
    assert row["usage_low"] == 0.25


def test_worst_load_is_over_layers_and_shares_are_their_mean():
    second = tensor([[0, 1], [0, 1], [0, 1], [0, 1], [0, 1]], dtype=torch.bool)
    row = prefill(torch.stack([MASK_LNE[0], second]), LOSSES_N, 4)
    assert row["load_worst"] == 4 / 2
    assert (row["usage_low"], row["usage_high"]) == ((1 / 4 + 0) / 2, (3 / 4 + 1) / 2)
    assert row["zero_expert_share"] == 1 / 8


def test_a_constant_fanout_is_spread_best_at_max_over_mean_one():
    row = prefill(torch.eye(4, dtype=torch.bool).repeat(8, 1)[None], torch.zeros(32), 16)
    assert (row["load_max_over_mean"], row["load_worst"], row["usage_low"], row["usage_high"]) == (1, 1, 0.25, 0.25)


def test_text_shorter_than_a_batch_gives_nulls():
    for row in shift_rows(text_of(3, 2), MASK_LNE, LOSSES_N, (256,), top_k=1, seed=0):
        assert row.pop("tokens") == 0
        assert {row.pop("domain"), row.pop("batch_tokens")} == {"code", 256}
        assert row.pop("batch") in ("prefill", "decode")
        assert set(row.values()) == {None}


def test_load_of_random_routing_concentrates_with_the_batch():
    mask_LNE = torch.rand(2, 4096, 16, generator=torch.Generator().manual_seed(1)) < 1 / 16
    rows = [prefill(mask_LNE, torch.zeros(4096), tokens) for tokens in (16, 256, 4096)]
    worst = [row["load_worst"] for row in rows]
    assert worst == sorted(worst, reverse=True)
    assert all(math.isclose(row["usage_mean"], rows[0]["usage_mean"]) for row in rows)


def test_prefill_batches_are_consecutive():
    assert prefill_batches(7, 3).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert prefill_batches(2, 3).shape == (0, 3)


def test_decoding_reads_sequences_of_whole_documents_side_by_side():
    """Documents of 2, 3 and 3 tokens; the seeded order deals them to two sequences of four."""
    text = text_of(2, 3, 3)
    parts = [[0, 1], [2, 3, 4], [5, 6, 7]]
    order = [n for d in np.random.default_rng(5).permutation(3) for n in parts[d]]
    assert decode_batches(text, 2, seed=5).tolist() == [[order[p], order[4 + p]] for p in range(4)]


@pytest.mark.parametrize("size", [1, 16, 256])
def test_a_decoding_batch_holds_tokens_of_as_many_documents(size):
    """No document is longer than a sequence; every token is in at most one batch, the rest is smaller than one."""
    lengths = np.random.default_rng(1).integers(1, 4, size=1500)
    text = text_of(*lengths)
    assert text.tokens // size >= 4
    numbers_PM = decode_batches(text, size, seed=0)
    documents_PM = text.document_of_token()[numbers_PM]
    assert all(len(set(row)) == size for row in documents_PM.tolist())
    assert len(set(numbers_PM.flatten().tolist())) == numbers_PM.size > text.tokens - size
    assert np.array_equal(numbers_PM, decode_batches(text, size, seed=0))
    assert not np.array_equal(numbers_PM, decode_batches(text, size, seed=1))


def test_one_document_is_cut_into_sequences_as_far_apart_as_can_be():
    assert decode_batches(text_of(9), 4, seed=3).tolist() == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_documents_that_keep_to_an_expert_load_it_in_prefill_and_not_in_decoding():
    """64 documents of 16 tokens, all tokens of document d to expert d mod 4: as correlated as text can be."""
    text = text_of(*[16] * 64)
    mask_LNE = torch.nn.functional.one_hot(torch.from_numpy(text.document_of_token()) % 4, 4).bool()[None]
    rows = shift_rows(text, mask_LNE, torch.arange(1024.0), (1, 16), top_k=1, seed=0)
    found = {(row["batch"], row["batch_tokens"]): row for row in rows}
    assert list(found) == [("prefill", 1), ("prefill", 16), ("decode", 1), ("decode", 16)]
    assert found["prefill", 16]["load_worst"] == found["prefill", 16]["load_max_over_mean"] == 4.0
    assert found["decode", 16]["load_worst"] < 3.0
    assert found["decode", 16]["usage_low"] > 0.0 == found["prefill", 16]["usage_low"]
    single = [{**found[kind, 1], "batch": None} for kind in ("prefill", "decode")]
    assert single[0] == pytest.approx(single[1])
    for name in ("loss", "usage_mean", "zero_expert_share", "tokens"):
        assert len({row[name] for row in rows}) == 1


@pytest.mark.parametrize("condition", ["et", "tc", "ec-batch"])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 16), (16, 1)])
def test_a_tokens_experts_and_loss_do_not_depend_on_the_batch(deep, random_gpt, condition, rows, columns):
    """Passes of 1 and of 16 tokens, consecutive or one of each of 16 sequences, against one pass over all 512."""
    model, text = random_gpt(deep(condition)), text_of(512, vocabulary=512)
    (whole,) = routed_batches(model, text, length=32, forward_tokens=512)
    assert 0.02 < whole.mask_LNE.float().mean() < 0.5
    inputs_BT, targets_BT = torch.from_numpy(text.ids[:-1]).view(16, 32), torch.from_numpy(text.ids[1:]).view(16, 32)
    caches = model.empty_caches()
    for start in range(0, 32, columns):
        window = slice(rows), slice(start, start + columns)
        numbers_N = torch.arange(512).view(16, 32)[window].flatten()
        with torch.no_grad():
            output = model(inputs_BT[window], causal_context(rows * columns), caches)
            losses_N = model.token_losses(output.hidden_BTD, targets_BT[window])
        torch.testing.assert_close(losses_N, whole.losses_N[numbers_N], atol=1e-6, rtol=1e-6)
        for layer, routed in enumerate(output.routing):
            mask_NE, gates_NE = routed.selection.mask_NE, routed.selection.gates_NE
            assert torch.equal(mask_NE, whole.mask_LNE[layer, numbers_N])
            torch.testing.assert_close(gates_NE, whole.gates_LNE[layer, numbers_N], atol=1e-6, rtol=1e-6)
