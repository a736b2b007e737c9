"""Weak and strong scaling of a run over data-parallel GPUs, simulated: how long a step takes, and on what.

A step is the sum of its parts, since nothing overlaps: DeepSpeed's `overlap_comm` is off at stages 1 and 2.

    compute   forward and backward passes at the device's stated share of its peak
    muon      Newton-Schulz of the process that has most of it: it needs whole tensors, however many processes there are
    gradients an all-reduce of all gradients (use_multi_rank_bucket_allreduce: at stages 1 and 2 too), of every pass at
              stage 2
    weights   an all-gather of the new weights from stage 1 on
    routing   for a pool over processes the gathered logits of every MoE layer and pass, and reading them 8 times to
              find the largest; one small all-reduce a layer, and three a step for loss, finiteness and signals

Weak scaling keeps the sequences of a GPU, strong scaling the batch, which ends at one sequence a GPU: more GPUs idle.
`exchange` is what the parts of `experts` would take if experts were not replicated: tokens would go to their experts
and back, forward and backward. Stragglers, input and checkpoints are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from moe_replication.config.run import RunConfig
from moe_replication.config.sections import CUTOFF_RULES
from moe_replication.errors import BadInput
from moe_replication.models.gpt import GPT
from moe_replication.planning.assumptions import FILE, Assumptions
from moe_replication.planning.flops import forward_flops, orthogonalization_flops, recomputed_flops
from moe_replication.planning.memory import BYTES, Layout, layout_of, training_memory
from moe_replication.planning.network import Network
from moe_replication.planning.parameters import count_weights, muon_tensors

GPUS = (1, 8, 16, 32, 64, 128, 256, 512, 1024)
# Reads of the gathered logits: masks, and the rounds of a radix selection.
SELECTION_READS = 8
SMALL = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTime:
    """Seconds of an optimiser step by part."""

    compute: float
    muon: float
    gradients: float
    weights: float
    routing: float

    @property
    def total(self) -> float:
        return sum(asdict(self).values())


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalingRow:
    """A number of GPUs, of which `busy` work; `efficiency` is speed a GPU over that of one GPU alone.

    `experts` are the seconds of `gradients` and `weights` for routed experts, `exchange` those of sending tokens
    instead.
    """

    gpus: int
    busy: int
    batch: int
    step: StepTime
    samples_per_second: float
    efficiency: float
    memory: int
    experts: float
    exchange: float


def scaling(model: GPT, config: RunConfig, assumptions: Assumptions, weak: bool) -> list[ScalingRow]:
    """Rows for every number of GPUs; BadInput where config/planning.yaml has no links of the device."""
    simulated = _Simulation(model, config, assumptions)
    rows: list[ScalingRow] = []
    for gpus, layout in _layouts(config, weak):
        step = simulated.step(layout)
        batch = layout.processes * layout.micro_batch * layout.passes
        speed = batch * config.data.sequence_length / step.total
        alone = rows[0].samples_per_second if rows else speed
        experts, exchange = simulated.expert_seconds(layout)
        rows.append(
            ScalingRow(
                gpus=gpus,
                busy=layout.processes,
                batch=batch,
                step=step,
                samples_per_second=speed,
                efficiency=speed / gpus / alone,
                memory=simulated.memory(layout),
                experts=experts,
                exchange=exchange,
            )
        )
    return rows


def _layouts(config: RunConfig, weak: bool) -> Iterator[tuple[int, Layout]]:
    own, batch = layout_of(config), config.training.batch_size
    for gpus in GPUS:
        if weak:
            yield gpus, replace(own, processes=gpus)
            continue
        busy = max(count for count in GPUS if count <= gpus and batch % count == 0)
        micro = min(own.micro_batch, batch // busy)
        yield gpus, replace(own, processes=busy, micro_batch=micro, passes=batch // busy // micro)


class _Simulation:
    def __init__(self, model: GPT, config: RunConfig, assumptions: Assumptions) -> None:
        self.model, self.config, self.assumptions = model, config, assumptions
        self.network = _network(assumptions)
        self.process = assumptions.process(config)
        self.size = BYTES[self.process.precision]
        self.forward = forward_flops(model, config, (0, 0))
        self.weights = self.size * count_weights(model)
        self.expert_weights = self.size * sum(count_weights(layer.experts) for layer in model.moe_layers())

    def step(self, layout: Layout) -> StepTime:
        network, gpus, zero = self.network, layout.processes, layout.zero_stage
        tokens = layout.micro_batch * self.config.data.sequence_length
        again = recomputed_flops(self.forward, self.config, layout)
        reduced = layout.passes if zero == 2 else 1
        muon = max(orthogonalization_flops(muon_tensors(self.model, self.config), zero, gpus))
        return StepTime(
            compute=self._seconds((3 * self.forward.total + again) * tokens * layout.passes),
            muon=self._seconds(muon),
            gradients=reduced * network.all_reduce(self.weights, gpus),
            weights=network.all_gather(self.weights, gpus) if zero else 0.0,
            routing=self._routing(tokens, layout),
        )

    def memory(self, layout: Layout) -> int:
        return training_memory(self.model, self.config, layout, self.process, (0, 0)).total

    def expert_seconds(self, layout: Layout) -> tuple[float, float]:
        """Replicated experts' gradients and weights in a step, and the exchange of tokens that would replace them."""
        network, gpus = self.network, layout.processes
        if not self.expert_weights:
            return 0.0, 0.0
        replicated = (layout.passes if layout.zero_stage == 2 else 1) * network.all_reduce(self.expert_weights, gpus)
        replicated += network.all_gather(self.expert_weights, gpus) if layout.zero_stage else 0.0
        sent = layout.micro_batch * self.config.data.sequence_length * self.config.routing.top_k
        sent *= self.size * self.config.model.width
        exchanges = 4 * layout.passes * len(self.model.moe_layers())
        return replicated, exchanges * network.all_to_all(sent, gpus)

    def _routing(self, tokens: int, layout: Layout) -> float:
        layers, routing, gpus = len(self.model.moe_layers()), self.config.routing, layout.processes
        seconds = (layers + 3) * self.network.all_reduce(SMALL, gpus)
        spans = routing.pool == "batch" or (isinstance(routing.pool, int) and routing.pool > tokens)
        if layers and routing.rule in CUTOFF_RULES and spans:
            gathered = 4 * self.config.moe.experts * tokens * gpus
            reading = SELECTION_READS * gathered / (self.network.memory_gb_s * 1e9)
            seconds += layers * layout.passes * (self.network.all_gather(gathered, gpus) + reading)
        return seconds

    def _seconds(self, flops: int) -> float:
        return 3600 * self.assumptions.device.hours(flops, self.process.precision)


def _network(assumptions: Assumptions) -> Network:
    if assumptions.network is None:
        name = assumptions.device.name
        raise BadInput(f"{FILE}: networks has no entry for {name}, so nothing is known of more than one; add its links")
    return assumptions.network
