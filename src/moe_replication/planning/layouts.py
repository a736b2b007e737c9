"""What a model needs under each ZeRO stage, with and without activation checkpointing and offloading."""

from __future__ import annotations

from dataclasses import dataclass, replace

from moe_replication.config.run import RunConfig
from moe_replication.config.sections import MuonConfig
from moe_replication.models.gpt import GPT
from moe_replication.models.tiered_moe import TieredMoEClassifier
from moe_replication.planning.assumptions import Assumptions
from moe_replication.planning.memory import Layout, Memory, layout_of, training_memory


@dataclass(frozen=True, kw_only=True, slots=True)
class LayoutMemory:
    """A layout and the memory of one of its processes."""

    layout: Layout
    memory: Memory


def layout_memories(
    model: GPT | TieredMoEClassifier, config: RunConfig, assumptions: Assumptions, sides: tuple[int, int]
) -> list[LayoutMemory]:
    """Stages 0, 1 and 2, each without and with activation checkpointing, and stages 1 and 2 offloaded to the host.

    Image models are not checkpointed, settings with gradient clipping have stage 0 alone, and stage 0 is in float32:
    training refuses the others.
    """
    own, process = layout_of(config), assumptions.process(config)
    clipped = isinstance(config.optimizer, MuonConfig) and config.optimizer.gradient_clipping > 0
    choices = [
        replace(own, zero_stage=stage, checkpointed=checkpointed, offloaded=offloaded)
        for stage, offloaded in ((0, False), (1, False), (2, False), (1, True), (2, True))[: 1 if clipped else None]
        for checkpointed in ((False, True) if isinstance(model, GPT) else (False,))
    ]
    found = []
    for layout in choices:
        used = process if layout.zero_stage else replace(process, precision="float32")
        found.append(LayoutMemory(layout=layout, memory=training_memory(model, config, layout, used, sides)))
    return found
