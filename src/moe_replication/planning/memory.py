"""Memory of one process in training, by part and by phase of a step, as DeepSpeed 0.19.8 keeps it.

With P parameters, b bytes of the working precision (bfloat16 2, float32 4), W processes and ZeRO stage z:

    weights      b P
    masters      4 P / W of float32, from stage 1 on
    optimizer    8 bytes a parameter of AdamW; Muon's momentum in the gradients' precision, twice from stage 1 on
                 (a step that overflows must leave the first copy alone). From stage 1 on AdamW's is divided by W, and
                 Muon's is that of all tensors that the process's slice touches, since a matrix is taken as a whole
    gradients    b P; at stage 2 b P / W, twice where gradients are accumulated
    buffers      b * 500,000,000 from stage 1 on: the bucket that gradients are reduced in (reduce_bucket_size); on a
                 CPU no more than P of them are touched. On several processes a flattened copy of it is sent
    activations  what autograd keeps of one micro-batch (activations.py)
    workspace    8 bytes a logit of one chunk (the soft-cap's slope and the gradient, in float32), 2 more in bfloat16;
                 or the logits of a pool over all processes, or the oracle's, where they are more
    update       between gradients and new weights: the process's own gradients once more, Muon's updates, and
                 Newton-Schulz of the largest tensor or AdamW's terms
    overhead     Python, torch and the device's context, and what the allocator keeps (config/planning.yaml)

No moment needs all of them. A step has three phases, and the largest is the peak:

    pass     weights, masters, optimizer; activations, which empty while gradients fill; workspace
    reduce   weights, masters, optimizer; gradients, buffers, update
    step     weights, masters, optimizer; update

`engine.offload: optimizer` moves masters and optimizer to the host. Paper B's trials on images are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from moe_replication.config.run import RunConfig
from moe_replication.config.sections import CUTOFF_RULES
from moe_replication.models.gpt import GPT
from moe_replication.models.tiered_moe import TieredMoEClassifier
from moe_replication.planning.activations import model_units
from moe_replication.planning.assumptions import Process
from moe_replication.planning.parameters import adamw_tensors, muon_tensors, owned_tensors

BYTES = {"float32": 4, "bfloat16": 2}
# DeepSpeed's default of zero_optimization.reduce_bucket_size, in gradients.
REDUCE_BUCKET = 500_000_000
# float32 terms of AdamW that stand side by side in DeepSpeed's MuonWithAuxAdam: two corrected moments, root, quotient.
ADAM_TERMS = 4
# glibc takes larger blocks from the kernel and gives them back once freed (DEFAULT_MMAP_THRESHOLD_MAX).
HEAP_BLOCK = 32 * 2**20
PARTS = (
    "weights", "masters", "optimizer", "gradients", "buffers", "activations", "workspace", "update", "overhead",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Bytes of one process by part; `checkpoint` of all processes on disk, `host` what offloading puts there."""

    weights: int
    masters: int
    optimizer: int
    gradients: int
    buffers: int
    activations: int
    workspace: int
    update: int
    overhead: int
    phases: tuple[tuple[str, int], ...]
    checkpoint: int
    host: int

    @property
    def total(self) -> int:
        """The peak: the largest phase."""
        return max(size for _, size in self.phases)

    @property
    def phase(self) -> str:
        """The phase of the peak."""
        return max(self.phases, key=lambda phase: phase[1])[0]

    def parts(self) -> dict[str, int]:
        """Bytes by part, which are not all there at once."""
        return {part: getattr(self, part) for part in PARTS}


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How a run is spread over processes and what it keeps where."""

    processes: int
    zero_stage: int
    micro_batch: int
    passes: int
    checkpointed: bool
    offloaded: bool


def layout_of(config: RunConfig) -> Layout:
    """The layout that a run's settings ask for."""
    engine, training = config.engine, config.training
    return Layout(
        processes=engine.world_size, zero_stage=engine.zero_stage, micro_batch=training.micro_batch_size,
        passes=config.accumulation, checkpointed=training.activation_checkpointing,
        offloaded=engine.offload == "optimizer",
    )  # fmt: skip


def training_memory(
    model: GPT | TieredMoEClassifier, config: RunConfig, layout: Layout, process: Process, sides: tuple[int, int]
) -> Memory:
    """Memory of one process of a run on `process`; `sides` is the height and width of images."""
    return _Counter(model, config, layout, process, sides).memory()


class _Counter:
    """Parts and phases of one model and setting."""

    def __init__(
        self, model: GPT | TieredMoEClassifier, config: RunConfig, layout: Layout, process: Process,
        sides: tuple[int, int],
    ) -> None:  # fmt: skip
        self.model, self.config, self.layout, self.process = model, config, layout, process
        self.size, self.zero, self.shards = BYTES[process.precision], layout.zero_stage, layout.processes
        self.tensors = [parameter.numel() for parameter in model.parameters()]
        self.muon, self.adamw = muon_tensors(model, config), adamw_tensors(model, config)
        self.weights = self.size * sum(self.tensors)
        self.momentum = self.size * sum(tensor.numel() for tensor in self.muon)
        owned = owned_tensors(self.muon, self.shards) if self.zero else [self.muon]
        self.own_momentum = self.size * max(sum(tensor.numel() for tensor in mine) for mine in owned)
        self.moments = 8 * sum(tensor.numel() for tensor in self.adamw)
        self.samples = layout.micro_batch * (config.data.sequence_length or 1)
        self.units = model_units(model, self.size, sides, layout.checkpointed)
        self.kept = sum(unit.kept for unit in self.units) * self.samples
        # Logits, inputs and outputs of the routers, which the loop has until the next pass.
        self.held = sum(unit.held for unit in self.units) * self.samples
        self.touched = min(self.weights, self.size * REDUCE_BUCKET)
        self.bucket = (self.size * REDUCE_BUCKET if process.reserved else self.touched) if self.zero else 0
        self.sent = self.touched if self.shards > 1 else 0

    def memory(self) -> Memory:
        masters = self._sharded(4 * sum(self.tensors)) if self.zero else 0
        optimizer = (2 if self.zero else 1) * self.own_momentum + self._sharded(self.moments)
        # On a CPU the host's memory is the process's own.
        away = self.layout.offloaded and self.process.reserved
        standing = self.weights + (0 if away else masters + optimizer) + self.process.runtime
        workspace, reducing, stepping = self._workspace(), self._reducing(), self._stepping()
        in_pass, later = self._allocator()
        phases = {
            "pass": standing + self._pass(workspace) + in_pass,
            "reduce": standing + self.held + self._reduce(reducing) + later,
            "step": standing + self.held + stepping + later,
        }
        peak = max(phases, key=phases.get)
        gradients = self._sharded(self.weights) if self.zero == 2 else self.weights
        return Memory(
            weights=self.weights, masters=masters, optimizer=optimizer,
            gradients=gradients * (2 if self.zero == 2 and self.layout.passes > 1 else 1),
            buffers=self.bucket + self.sent, activations=self.kept, workspace=workspace, update=max(reducing, stepping),
            overhead=self.process.runtime + (in_pass if peak == "pass" else later), phases=tuple(phases.items()),
            checkpoint=self.weights + (4 * sum(self.tensors) if self.zero else 0) + self.momentum + self.moments,
            host=masters + optimizer + self._sharded((4 + self.size) * sum(self.tensors)) if away else 0,
        )  # fmt: skip

    def _sharded(self, size: int) -> int:
        return -(-size // self.shards) if self.zero else size

    def _pass(self, workspace: int) -> int:
        """The most that activations, gradients so far and a unit's own space take together, from the loss backwards."""
        again = self.layout.passes > 1
        before = self.held if again else 0
        if self.zero == 2 and (again or self.process.reserved):
            before += self.bucket + (2 if again else 1) * self._sharded(self.weights)
        elif again:
            before += self.weights
        fills = not again and not (self.zero == 2 and self.process.reserved)
        kept, filled, most = self.kept, 0, 0
        for unit in reversed(self.units):
            gradient = self.size * unit.parameters
            filled += gradient if fills else 0
            # Gradients of a block's own activations: about half of these, which go as those come.
            inside = (unit.again + (unit.again or unit.kept) // 2) * self.samples
            most = max(most, kept + filled + (inside if most else workspace + gradient))
            kept -= unit.kept * self.samples
        return before + most

    def _reduce(self, update: int) -> int:
        """After the backward pass: gradients move into the bucket, then into the process's own share, then change."""
        if self.zero == 0:
            return self.weights + max(self.sent, update)
        moved = self.bucket + max(self.sent, update)
        if self.zero == 2:
            return moved + (self._sharded(self.weights) if self.layout.passes > 1 else 0)
        return max(self.weights + (self.bucket if self.process.reserved else 0), moved)

    def _reducing(self) -> int:
        if self.zero == 0:
            largest = max((tensor.numel() for tensor in self.adamw), default=0)
            return max(self._newton_schulz(), 4 * ADAM_TERMS * largest)
        return self._sharded(self.weights) + self.own_momentum + self._newton_schulz()

    def _stepping(self) -> int:
        """The update of the largest group in float32 (from bfloat16 beside a flattened copy), and AdamW's terms."""
        if self.zero == 0:
            return self.weights + self._reducing()
        flat = 4 if self.size == 4 else 4 + self.size
        muon = flat * sum(tensor.numel() for tensor in self.muon)
        adamw = (flat + 4 * ADAM_TERMS) * max((tensor.numel() for tensor in self.adamw), default=0)
        return self._sharded(self.weights + max(muon, adamw)) + self.own_momentum

    def _newton_schulz(self) -> int:
        """Of the largest tensor: itself before and after a product, and five Gram matrices; float16 on a GPU."""
        if not self.muon:
            return 0
        largest = max(self.muon, key=lambda tensor: tensor.numel())
        gram = largest.numel() // max(largest.shape[-2:]) * min(largest.shape[-2:])
        return (2 if self.process.reserved else 4) * (2 * largest.numel() + 5 * gram)

    def _workspace(self) -> int:
        if not isinstance(self.model, GPT):
            return 0
        config, vocabulary, experts = self.config, len(self.model.head), self.config.moe.experts
        loss = (8 + self.size % 4) * min(self.samples, config.training.loss_chunk_tokens) * vocabulary
        pool = oracle = 0
        if config.routing.rule in CUTOFF_RULES and config.routing.pool != "sequence" and self.shards > 1:
            # Gathered logits, the largest with their positions (topk), and the mask.
            pool = (4 + 12 + 1) * self.samples * self.shards * experts
        if config.ecology is not None:
            oracle = 16 * min(config.ecology.oracle_tokens, self.samples) * experts * vocabulary
        return max(loss, pool, oracle)

    def _allocator(self) -> tuple[int, int]:
        """What the allocator keeps beyond live tensors: in the pass, and once the activations are gone."""
        beyond = self.process.heap - 1
        if self.process.reserved:
            return round(beyond * self.kept), round(beyond * self.kept)
        widest = self.config.model.width if isinstance(self.model, GPT) else self.config.model.feature_width
        small = self.kept if self.samples * widest * self.size < HEAP_BLOCK else 0
        gradients = sum(self.size * count for count in self.tensors if self.size * count < HEAP_BLOCK)
        return round(beyond * small), max(round(self.process.heap * small) - self.held, 0) + gradients
