"""Memory by part: worked numbers, and autograd's own account of a real forward pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.distributed._tools.mem_tracker import MemTracker

from moe_replication.models.gpt import GPT
from moe_replication.models.tiered_moe import TieredMoEClassifier
from moe_replication.planning.memory import activation_bytes, checkpoint_bytes, training_memory
from moe_replication.planning.parameters import meta_model, muon_parameters
from moe_replication.routing import RoutingContext


def _memory(config, precision: str = "bfloat16", reserved: bool = False):
    model = meta_model(config, None)
    muon = muon_parameters(model, config)
    return training_memory(model, config, muon=muon, precision=precision, reserved=reserved, sides=(0, 0))


def test_dense_model_on_paper(sized):
    """Width 32, two layers, vocabulary 512: 24,576 parameters of matrices and 32,768 of embedding and head.

    bfloat16 on two processes at stage 1, four sequences of 64 a pass.
    """
    memory = _memory(sized("dense", world_size=2))
    parameters = 24_576 + 32_768
    assert memory.weights == memory.gradients == 2 * parameters
    assert memory.masters == 4 * parameters // 2
    # Momentum twice in bfloat16, AdamW's two moments in float32.
    assert memory.optimizer == (2 * 2 * 24_576 + 8 * 32_768) // 2
    assert memory.buffers == 2 * parameters
    # A layer keeps 2 d + 6 d in attention and 2 d + 2 * 4 d in the feed-forward; embedding and end 4 d.
    assert memory.activations == 256 * (2 * (8 + 10) + 4) * 32 * 2
    assert memory.workspace == 16 * 256 * 512
    assert memory.total == sum((
        memory.weights, memory.masters, memory.optimizer, memory.gradients, memory.buffers, memory.activations,
        memory.workspace,
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("stage", "world", "batch", "masters", "optimizer", "gradients", "buffers"),
    [
        # In float32; P = 57,344 of which 24,576 under Muon.
        (0, 4, 16, 0, 4 * 24_576 + 8 * 32_768, 4 * 57_344, 0),
        (1, 4, 16, 57_344, (8 * 24_576 + 8 * 32_768) // 4, 4 * 57_344, 4 * 57_344),
        (2, 4, 16, 57_344, (8 * 24_576 + 8 * 32_768) // 4, 57_344, 4 * 57_344),
        (2, 4, 32, 57_344, (8 * 24_576 + 8 * 32_768) // 4, 2 * 57_344, 4 * 57_344),
    ],
)
def test_zero_stages_on_paper(sized, stage, world, batch, masters, optimizer, gradients, buffers):
    found = _memory(sized("dense", zero_stage=stage, world_size=world, batch=batch), "float32")
    assert (found.masters, found.optimizer, found.gradients, found.buffers) == (masters, optimizer, gradients, buffers)


def test_a_gpu_reserves_the_whole_reduce_bucket(sized):
    assert _memory(sized("dense"), reserved=True).buffers == 2 * 500_000_000
    assert _memory(sized("dense", zero_stage=0), "float32", reserved=True).buffers == 0


def test_workspace_is_the_chunk_or_the_widest_hidden_layer(sized):
    assert _memory(sized("dense", vocabulary=4096, chunk=128)).workspace == 16 * 128 * 4096
    assert _memory(sized("dense", chunk=8)).workspace == 4 * 2 * 256 * 128


def test_checkpoint_holds_every_shard(sized):
    config = sized("dense", world_size=2)
    memory = _memory(config)
    assert checkpoint_bytes(memory, config) == memory.weights + 2 * (memory.masters + memory.optimizer)


@pytest.mark.parametrize(
    ("condition", "width", "layers"),
    [("dense", 128, 3), ("dense", 256, 2), ("tc", 128, 3), ("et", 256, 2), ("ec-no-shared", 128, 2), ("l1", 128, 2)],
)
def test_activations_against_autograd(sized, condition, width, layers):
    """Within 10 % of what autograd keeps in float32; on a CPU bfloat16's norms keep float32 copies on top."""
    config = sized(condition, width=width, layers=layers)
    model = GPT(config)
    model.initialize(0)
    tokens = torch.randint(0, 512, (4, 64), generator=torch.Generator().manual_seed(0))
    context = RoutingContext(training=True, pool_tokens=256, warming_up=True)
    kept = saved_bytes(model, lambda: model(tokens, context))
    assert 256 * activation_bytes(model, config, 4, (0, 0)) == pytest.approx(kept, rel=0.1)


def test_image_activations_against_autograd(smoke):
    config = smoke["v6"]
    model = TieredMoEClassifier(config, 3, 200)
    model.initialize(0)
    images = torch.randn(8, 3, 32, 16, generator=torch.Generator().manual_seed(0))
    context = RoutingContext(training=True, pool_tokens=8, temperature=2.0)
    kept = saved_bytes(model, lambda: model(images, context))
    assert 8 * activation_bytes(model, config, 4, (32, 16)) == pytest.approx(kept, rel=0.1)


@pytest.mark.parametrize(
    ("condition", "width", "layers", "vocabulary", "chunk"),
    [("dense", 128, 3, 2048, 128), ("dense", 256, 2, 512, 64), ("tc", 128, 3, 512, 4096), ("et", 256, 2, 512, 64)],
)
def test_sum_bounds_the_peak_of_a_pass(sized, condition, width, layers, vocabulary, chunk):
    """Weights, gradients, activations and workspace: never below the sum of live tensors, at most a third above."""
    config = sized(condition, width=width, layers=layers, vocabulary=vocabulary, micro=8, chunk=chunk, zero_stage=0)
    model = GPT(config)
    model.initialize(0)
    tokens = torch.randint(0, vocabulary, (8, 64), generator=torch.Generator().manual_seed(0))
    context = RoutingContext(training=True, pool_tokens=512, warming_up=True)
    tracker = MemTracker()
    tracker.track_external(model)
    with tracker:
        model.token_losses(model(tokens, context).hidden_BTD, tokens).mean().backward()
    peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
    memory = _memory(config, "float32")
    planned = memory.weights + memory.gradients + memory.activations + memory.workspace
    assert peak <= planned <= 1.34 * peak


def saved_bytes(model: nn.Module, forward: Callable[[], object]) -> int:
    """Bytes of all storages that autograd keeps in a forward pass, parameters left out."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = forward()
    assert output is not None
    return sum(storage.nbytes() for storage in kept.values())
