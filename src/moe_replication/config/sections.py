"""The sections of a run's settings as frozen dataclasses; fields as in workflow/schemas/run.schema.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from moe_replication.errors import BadInput

# Rules whose cut-off is followed by a moving average in training.
CUTOFF_RULES = ("expert_choice", "expert_threshold")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    set: str
    augmentation: str
    vocab_size: int | None
    sequence_length: int | None
    tokenizer_megabytes: float | None
    train_tokens: int | None
    validation_tokens: int | None
    train_images: int | None
    test_images: int | None
    pooling: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class GPTConfig:
    kind: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    ffn_multiple: float
    dense_first_layers: int
    soft_cap: float
    head_std: float
    rope_base: float

    def __post_init__(self) -> None:
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise BadInput(
                f"model.heads = {self.heads} must divide model.width = {self.width} into heads of even width"
            )
        if self.heads % self.kv_heads:
            raise BadInput(f"model.kv_heads = {self.kv_heads} must divide model.heads = {self.heads}")


@dataclass(frozen=True, kw_only=True, slots=True)
class WideResNetConfig:
    kind: str
    depth: int
    widen: int
    base_channels: int
    feature_width: int
    dropout: float

    def __post_init__(self) -> None:
        if (self.depth - 4) % 6:
            raise BadInput(f"model.depth = {self.depth} must be 6n + 4 (10, 16, 22, 28, ...)")


@dataclass(frozen=True, kw_only=True, slots=True)
class MoEConfig:
    tiers: tuple[int, ...]
    tier_multiples: tuple[float, ...]
    shared_multiple: float
    router_hidden: int
    storage: str

    def __post_init__(self) -> None:
        if len(self.tiers) != len(self.tier_multiples):
            raise BadInput(
                f"moe.tier_multiples = {list(self.tier_multiples)} must have one entry for each of the"
                f" {len(self.tiers)} tiers in moe.tiers"
            )
        if self.storage == "concatenated" and len(self.tiers) > 1:
            raise BadInput(
                f"moe.storage = concatenated needs experts of one width, moe.tiers = {list(self.tiers)} has several;"
                " use per_expert"
            )

    @property
    def experts(self) -> int:
        """Routed experts over all tiers."""
        return sum(self.tiers)

    @property
    def tier_of_expert(self) -> tuple[int, ...]:
        """Tier index of every expert."""
        return tuple(tier for tier, count in enumerate(self.tiers) for _ in range(count))


@dataclass(frozen=True, kw_only=True, slots=True)
class RoutingConfig:
    rule: str
    top_k: int
    pool: str | int
    comparison: str
    normalize_fanout: bool
    fallback: bool
    ema_beta: float
    ema_reference_steps: int | None
    ema_bias_correction: bool
    warmup_fraction: float
    capacity: float
    balance: str
    balance_pool: str | int
    aux_weight: float
    bias_rate: float
    renormalize: bool
    evaluation_temperature: float

    def __post_init__(self) -> None:
        if self.fallback and self.rule != "expert_threshold":
            raise BadInput(
                f"routing.fallback = true is for expert_threshold, whose tokens can pass no cut-off;"
                f" routing.rule = {self.rule} needs false"
            )
        if self.normalize_fanout and self.rule not in CUTOFF_RULES:
            raise BadInput(
                f"routing.normalize_fanout = true needs a rule with a varying fan-out (expert_choice,"
                f" expert_threshold), not {self.rule}; set it to false"
            )
        if self.balance != "none" and self.rule != "token_choice":
            raise BadInput(
                f"routing.balance = {self.balance} acts under token_choice only, routing.rule = {self.rule} would"
                " ignore it; set it to none"
            )
        if self.capacity > 1:
            raise BadInput(
                f"routing.capacity = {self.capacity:g}: experts take (1 - C)k to (1 + C)k tokens, and (1 - C)k must not"
                " be negative; set it to at most 1, or to 0 for no limit"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class EcologyConfig:
    temperature: float
    entropy_weight: float
    oracle_weight: float
    balance_weight: float
    ortho_weight: float
    divergence_weight: float
    entropy_sign: int
    annealing_start: float | None
    annealing_fraction: float
    random_warmup_fraction: float
    oracle_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CensusConfig:
    dead_share: float
    edge_share: float
    core_accuracy: float
    broad_accuracy: float
    edge_accuracy: float
    strict_dead_share: float
    fair_share_fraction: float
    silent_batches: int
    hard_share: float

    def __post_init__(self) -> None:
        rising = ("strict_dead_share", "dead_share"), ("dead_share", "edge_share"), ("broad_accuracy", "core_accuracy")
        for lower, upper in rising:
            low, high = getattr(self, lower), getattr(self, upper)
            if low > high:
                raise BadInput(
                    f"census.{lower} = {low:g} must be at most census.{upper} = {high:g}, or no expert could fall"
                    " between the two; change one of them"
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class MuonConfig:
    kind: str
    matrix_lr: float
    momentum: float
    embedding_lr: float
    head_lr: float
    router: str
    experts: str
    expert_lr: float
    lr_reference_width: int
    betas: tuple[float, float]
    epsilon: float
    weight_decay: float
    adamw_warmup_fraction: float
    decay_fraction: float
    final_lr_fraction: float
    gradient_clipping: float


@dataclass(frozen=True, kw_only=True, slots=True)
class AdamWConfig:
    kind: str
    encoder_lr: float
    expert_lr: float
    betas: tuple[float, float]
    epsilon: float
    weight_decay: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    tokens: int | None
    epochs: int | None
    batch_size: int
    micro_batch_size: int
    log_every: int
    evaluate_every: int
    checkpoint_every: int
    snapshots: tuple[float, ...]
    loss_chunk_tokens: int
    activation_checkpointing: bool

    def __post_init__(self) -> None:
        if list(self.snapshots) != sorted(set(self.snapshots)) or self.snapshots[-1] != 1.0:
            raise BadInput(
                f"training.snapshots = {list(self.snapshots)} must rise and end with 1.0, the end of training"
            )
        if (self.tokens is None) == (self.epochs is None):
            raise BadInput(
                f"training.tokens = {self.tokens} and training.epochs = {self.epochs}: give exactly one horizon"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineConfig:
    zero_stage: int
    precision: str
    world_size: int
    offload: str

    def __post_init__(self) -> None:
        if self.zero_stage == 3:
            raise BadInput(
                "engine.zero_stage = 3: DeepSpeed does not shard Mixture-of-Experts layers, and shows a weight inside"
                " its own layer's forward pass only, while the chunked head and paper B's losses read weights outside;"
                " use 1 or 2"
            )
        if self.offload != "none" and self.zero_stage == 0:
            raise BadInput(
                f"engine.offload = {self.offload} needs engine.zero_stage = 1 or 2: at stage 0 DeepSpeed has no"
                " optimizer state of its own to move; raise the stage, or set offload to none"
            )
