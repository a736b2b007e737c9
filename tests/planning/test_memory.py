"""Memory by part: worked numbers, and autograd's own account of a real forward pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.distributed._tools.mem_tracker import MemTracker

from moe_replication.models.gpt import GPT, GPTOutput
from moe_replication.models.tiered_moe import TieredMoEClassifier
from moe_replication.planning.activations import model_units
from moe_replication.planning.assumptions import Process
from moe_replication.planning.memory import REDUCE_BUCKET, Layout, Memory, layout_of, training_memory
from moe_replication.planning.parameters import meta_model
from moe_replication.routing import RoutingContext

# Width 32, two layers, vocabulary 512: 24,576 parameters of matrices and 32,768 of embedding and head.
MATRICES, ENDS = 24_576, 32_768
PARAMETERS = MATRICES + ENDS
# Four processes in float32: a slice is 6 d^2 of a layer's 12 and touches 8, momentum twice; a quarter of the moments.
OWN = 2 * 4 * 8 * 32**2 + 8 * ENDS // 4


def process(precision: str = "float32", reserved: bool = False) -> Process:
    """A process that is all tensors."""
    return Process(precision=precision, reserved=reserved, runtime=0, heap=1.0)


def planned(config, layout: Layout | None = None, **kind) -> Memory:
    return training_memory(meta_model(config, None), config, layout or layout_of(config), process(**kind), (0, 0))


def test_dense_model_on_paper(sized):
    """bfloat16 on two processes at stage 1, four sequences of 64 a pass."""
    memory = planned(sized("dense", world_size=2), precision="bfloat16", reserved=True)
    assert memory.weights == memory.gradients == 2 * PARAMETERS
    assert memory.masters == 4 * PARAMETERS // 2
    # Momentum twice in bfloat16, AdamW's two moments in float32.
    assert memory.optimizer == (2 * 2 * MATRICES + 8 * ENDS) // 2
    # The bucket, and the flattened copy of what is in it.
    assert memory.buffers == 2 * REDUCE_BUCKET + 2 * PARAMETERS
    # A layer keeps 2 d + 4 d in attention and 2 d + 4 d in the feed-forward; the embedding 2 d, the end 3 d.
    assert memory.activations == 256 * (2 * (6 + 6) + 5) * 32 * 2
    # Slope and gradient in float32, one of the product and the gradient in bfloat16.
    assert memory.workspace == (8 + 2) * 256 * 512
    # Own gradients and Muon's updates, beside AdamW's largest tensor: flat in both precisions, and four terms.
    assert memory.update == (2 * PARAMETERS + 2 * MATRICES + (2 + 4 + 16) * 512 * 32) // 2
    assert memory.checkpoint == (2 + 4) * PARAMETERS + 2 * MATRICES + 8 * ENDS


@pytest.mark.parametrize(
    ("stage", "world", "batch", "masters", "optimizer", "gradients", "buffers"),
    [
        # In float32 on a CPU, which touches no more of the bucket than there are gradients.
        (0, 4, 16, 0, 4 * MATRICES + 8 * ENDS, 4 * PARAMETERS, 4 * PARAMETERS),
        (1, 1, 4, 4 * PARAMETERS, 8 * MATRICES + 8 * ENDS, 4 * PARAMETERS, 4 * PARAMETERS),
        (1, 4, 16, PARAMETERS, OWN, 4 * PARAMETERS, 8 * PARAMETERS),
        (2, 4, 16, PARAMETERS, OWN, PARAMETERS, 8 * PARAMETERS),
        (2, 4, 32, PARAMETERS, OWN, 2 * PARAMETERS, 8 * PARAMETERS),
    ],
)
def test_zero_stages_on_paper(sized, stage, world, batch, masters, optimizer, gradients, buffers):
    found = planned(sized("dense", zero_stage=stage, world_size=world, batch=batch))
    assert (found.masters, found.optimizer, found.gradients, found.buffers) == (masters, optimizer, gradients, buffers)


def test_peak_is_the_largest_phase_and_less_than_all_parts(sized):
    for stage in (0, 1, 2):
        memory = planned(sized("et", zero_stage=stage, world_size=2))
        phases = dict(memory.phases)
        assert memory.total == phases[memory.phase] == max(phases.values())
        assert memory.total < sum(memory.parts().values())


def test_many_sequences_peak_in_the_pass_and_few_after_it(sized):
    assert planned(sized("dense", micro=64)).phase == "pass"
    assert planned(sized("tc", micro=1, width=128)).phase == "reduce"


def test_overhead_and_allocator_come_on_top(sized):
    config = sized("dense", micro=64)
    bare = planned(config)
    dressed = training_memory(
        meta_model(config, None), config, layout_of(config),
        Process(precision="float32", reserved=False, runtime=10**9, heap=1.5), (0, 0),
    )  # fmt: skip
    assert dressed.total == bare.total + 10**9 + bare.activations // 2


def test_offloading_moves_masters_and_moments_to_the_host(sized):
    layout = replace(layout_of(sized("et", world_size=2)), zero_stage=1)
    here = planned(sized("et"), layout, precision="bfloat16", reserved=True)
    away = planned(sized("et"), replace(layout, offloaded=True), precision="bfloat16", reserved=True)
    assert here.total - away.total == here.masters + here.optimizer
    assert (here.host, away.host > here.masters + here.optimizer) == (0, True)
    # On a CPU both are the same memory.
    assert planned(sized("et"), replace(layout, offloaded=True)).total == planned(sized("et"), layout).total


def test_activation_checkpointing_keeps_a_block_at_a_time(sized):
    config = sized("et", layers=8, micro=64, chunk=64)
    layout = layout_of(config)
    whole, kept = planned(config, layout), planned(config, replace(layout, checkpointed=True))
    assert kept.activations < whole.activations / 2
    passes = [dict(memory.phases)["pass"] for memory in (whole, kept)]
    assert 0 < passes[0] - passes[1] < whole.activations - kept.activations


def test_workspace_is_a_chunk_of_logits_a_pool_or_the_oracle(sized):
    assert planned(sized("dense", vocabulary=4096, chunk=128)).workspace == 8 * 128 * 4096
    # Four processes of 4 x 64 tokens, 17 bytes for each of 16 experts' logits.
    assert planned(sized("ec-batch", chunk=8, world_size=4)).workspace == 17 * 4 * 256 * 16
    assert planned(sized("l1", chunk=8)).workspace == 16 * 64 * 16 * 512


@pytest.mark.parametrize(
    ("condition", "width", "layers"),
    [("dense", 128, 3), ("dense", 256, 2), ("tc", 128, 3), ("et", 256, 2), ("ec-no-shared", 128, 2), ("l1", 128, 2)],
)
def test_activations_against_autograd(sized, condition, width, layers):
    """Within 10 % of what autograd, routing statistics and loss keep in float32; a CPU's bfloat16 norms keep copies."""
    config = sized(condition, width=width, layers=layers)
    model = GPT(config)
    model.initialize(0)
    tokens = torch.randint(0, 512, (4, 64), generator=torch.Generator().manual_seed(0))
    context = RoutingContext(training=True, pool_tokens=256, warming_up=True)
    outputs = []

    def forward() -> GPTOutput:
        outputs.append(model(tokens, context))
        return outputs[0]

    kept = saved_bytes(model, forward) + sum(routed.y.nbytes for routed in outputs[0].routing)
    kept += outputs[0].hidden_BTD.nbytes  # the gradient that the loss takes on its way forward
    assert 256 * sum(unit.kept for unit in model_units(model, 4, (0, 0), checkpointed=False)) == pytest.approx(
        kept, rel=0.1
    )


def test_image_activations_against_autograd(smoke):
    config = smoke["v6"]
    model = TieredMoEClassifier(config, 3, 200)
    model.initialize(0)
    images = torch.randn(8, 3, 32, 16, generator=torch.Generator().manual_seed(0))
    context = RoutingContext(training=True, pool_tokens=8, temperature=2.0)
    kept = saved_bytes(model, lambda: model(images, context))
    assert 8 * sum(unit.kept for unit in model_units(model, 4, (32, 16), checkpointed=False)) == pytest.approx(
        kept, rel=0.1
    )


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize(
    ("condition", "width", "layers", "vocabulary", "chunk"),
    [("dense", 128, 3, 2048, 128), ("dense", 256, 2, 512, 64), ("tc", 128, 3, 512, 4096), ("et", 256, 2, 512, 64)],
)
def test_pass_against_live_tensors(sized, condition, width, layers, vocabulary, chunk, checkpointed):
    """Weights, gradients, activations and workspace as they come and go: within 15 % of what torch counts."""
    config = sized(condition, width=width, layers=layers, vocabulary=vocabulary, micro=8, chunk=chunk, zero_stage=0)
    config = replace(config, training=replace(config.training, activation_checkpointing=checkpointed))
    model = GPT(config)
    model.initialize(0)
    tokens = torch.randint(0, vocabulary, (8, 64), generator=torch.Generator().manual_seed(0))
    context = RoutingContext(training=True, pool_tokens=512, warming_up=True)
    tracker = MemTracker()
    tracker.track_external(model)
    with tracker:
        model.mean_loss(model(tokens, context).hidden_BTD, tokens).backward()
    peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
    memory = planned(config)
    assert dict(memory.phases)["pass"] - memory.optimizer == pytest.approx(peak, rel=0.15)


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
