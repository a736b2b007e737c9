from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_replication.data.batches import ImageBatches, LanguageBatches
from moe_replication.data.shards import TokenStream
from moe_replication.errors import BadInput


def test_shapes_types_and_shift():
    batches = LanguageBatches(np.arange(101, dtype=np.uint16), 5, 4, seed=0)
    inputs, targets = batches.batch(0)
    assert inputs.shape == targets.shape == (4, 5)
    assert inputs.dtype == targets.dtype == np.int64
    assert (targets == inputs + 1).all()
    assert (inputs[:, 0] % 5 == 0).all()


@given(tokens=st.integers(2, 200), length=st.integers(1, 9), batch=st.integers(1, 7), seed=st.integers(0, 99))
def test_every_token_exactly_once_per_epoch(tokens, length, batch, seed):
    windows = (tokens - 1) // length
    if windows < batch:
        with pytest.raises(BadInput, match="too few"):
            LanguageBatches(np.arange(tokens), length, batch, seed)
        return
    batches = LanguageBatches(np.arange(tokens), length, batch, seed)
    epochs = 3
    steps = -(-windows * epochs // batch)
    read = np.concatenate([batches.batch(step)[0] for step in range(steps)])
    for epoch in range(epochs):
        seen = read[epoch * windows : (epoch + 1) * windows].ravel()
        assert sorted(seen.tolist()) == list(range(windows * length))


def test_resuming_at_a_step_is_exact_across_an_epoch_boundary():
    tokens = np.random.default_rng(0).integers(0, 500, 401).astype(np.uint16)
    running = LanguageBatches(tokens, 10, 3, seed=7)
    expected = [running.batch(step) for step in range(40)]
    for first in (0, 12, 13, 14, 39):
        fresh = LanguageBatches(tokens, 10, 3, seed=7)
        for step in range(first, 40):
            for got, want in zip(fresh.batch(step), expected[step], strict=True):
                assert np.array_equal(got, want)


def test_seeds_and_epochs_give_different_orders():
    tokens = np.arange(1001)
    first = LanguageBatches(tokens, 10, 100, seed=0)
    orders = [first.batch(0)[0], first.batch(1)[0], LanguageBatches(tokens, 10, 100, seed=1).batch(0)[0]]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert not np.array_equal(orders[a], orders[b])
        assert np.array_equal(np.sort(orders[a].ravel()), np.sort(orders[b].ravel()))


def test_reads_a_stream_of_several_shards():
    whole = np.arange(101, dtype=np.uint16)
    stream = TokenStream([whole[:33], whole[33:40], whole[40:]])
    for step in range(5):
        got = LanguageBatches(stream, 5, 4, seed=3).batch(step)
        want = LanguageBatches(whole, 5, 4, seed=3).batch(step)
        assert np.array_equal(got, want)


def test_one_batch_exactly_fits():
    LanguageBatches(np.arange(21), 5, 4, seed=0).batch(0)
    with pytest.raises(BadInput, match=r"tokens: 20, too few for a batch of 4 x 5 \+ 1"):
        LanguageBatches(np.arange(20), 5, 4, seed=0)


@given(count=st.integers(1, 50), batch=st.integers(1, 60), seed=st.integers(0, 9), epoch=st.integers(0, 5))
def test_every_image_once_and_the_short_batch_kept(count, batch, seed, epoch):
    parts = ImageBatches(count, batch, seed).epoch(epoch)
    assert [len(part) for part in parts[:-1]] == [batch] * (len(parts) - 1)
    assert len(parts[-1]) == (count - 1) % batch + 1
    assert sorted(np.concatenate(parts).tolist()) == list(range(count))
    again = ImageBatches(count, batch, seed).epoch(epoch)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))


def test_image_orders_differ_by_seed_and_epoch():
    a, b = ImageBatches(100, 100, 0), ImageBatches(100, 100, 1)
    assert not np.array_equal(a.epoch(0)[0], b.epoch(0)[0])
    assert not np.array_equal(a.epoch(0)[0], a.epoch(1)[0])


def test_bad_sizes():
    with pytest.raises(BadInput, match="sequence_length 0"):
        LanguageBatches(np.arange(10), 0, 1, seed=0)
    with pytest.raises(BadInput, match="batch_size 0"):
        ImageBatches(10, 0, seed=0)
