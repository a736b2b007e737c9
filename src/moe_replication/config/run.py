"""The settings of one run as frozen dataclasses; fields as in workflow/schemas/run.schema.yaml."""

from __future__ import annotations

from dataclasses import dataclass, fields

from moe_replication.errors import BadInput


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    set: str
    augmentation: str
    vocab_size: int | None
    sequence_length: int | None
    tokenizer_megabytes: float | None
    train_tokens: int | None
    validation_tokens: int | None


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
        if self.normalize_fanout and self.rule not in ("expert_choice", "expert_threshold"):
            raise BadInput(
                f"routing.normalize_fanout = true needs a rule with a varying fan-out (expert_choice,"
                f" expert_threshold), not {self.rule}; set it to false"
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

    def __post_init__(self) -> None:
        if self.zero_stage == 3:
            raise BadInput("engine.zero_stage = 3: DeepSpeed does not shard Mixture-of-Experts parameters; use 1 or 2")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """All settings of one run."""

    task: str
    data: DataConfig
    model: GPTConfig | WideResNetConfig
    moe: MoEConfig
    routing: RoutingConfig
    ecology: EcologyConfig | None
    census: CensusConfig | None
    optimizer: MuonConfig | AdamWConfig
    training: TrainingConfig
    engine: EngineConfig

    def __post_init__(self) -> None:
        if self.routing.top_k > self.moe.experts:
            raise BadInput(
                f"routing.top_k = {self.routing.top_k} must be at most the {self.moe.experts} experts of moe.tiers"
            )
        if self.routing.rule == "softmax_top_k" and self.ecology is None:
            raise BadInput("routing.rule = softmax_top_k needs ecology.temperature; give the ecology section")
        if (self.ecology is None) != (self.census is None):
            raise BadInput("ecology and census go together: give both sections or neither")
        if self.routing.rule != "softmax_top_k" and self.ecology is not None:
            raise BadInput(f"routing.rule = {self.routing.rule} has no ecology losses; set ecology and census to null")
        if (self.task == "language") != isinstance(self.model, GPTConfig):
            raise BadInput(f"model.kind = {self.model.kind} does not fit task = {self.task}; use gpt for language")
        self._check_task()
        forward = self.training.micro_batch_size * self.engine.world_size
        if self.training.batch_size % forward:
            raise BadInput(
                f"training.batch_size = {self.training.batch_size} must be a multiple of micro_batch_size x"
                f" engine.world_size = {forward}"
            )
        if isinstance(self.optimizer, MuonConfig) and self.optimizer.gradient_clipping and self.engine.zero_stage:
            raise BadInput(
                f"optimizer.gradient_clipping = {self.optimizer.gradient_clipping} needs engine.zero_stage = 0: from"
                " stage 1 on DeepSpeed clips after Muon has orthogonalised; set one of the two to 0"
            )
        if self.routing.rule in ("expert_choice", "expert_threshold"):
            self._check_pool()
        mine, balance_pool = self.forward_tokens // self.engine.world_size, self.routing.balance_pool
        if self.routing.balance == "aux" and isinstance(balance_pool, int) and mine % balance_pool:
            raise BadInput(
                f"routing.balance_pool = {balance_pool} must divide the {mine} tokens of a process's forward pass;"
                " choose another, or process or batch"
            )

    def _check_pool(self) -> None:
        pool, name = self.pool_tokens, f"routing.pool = {self.routing.pool}"
        mine = self.forward_tokens // self.engine.world_size
        if pool > self.forward_tokens:
            raise BadInput(
                f"{name}: a forward pass holds {self.forward_tokens} tokens (micro_batch_size x sequence_length x"
                " engine.world_size), and later layers of a pass need the choice of earlier ones, so no pool can span"
                " passes; enlarge training.micro_batch_size or engine.world_size, or use pool = batch"
            )
        if self.forward_tokens % pool or (pool < mine and mine % pool):
            raise BadInput(
                f"{name} must divide the {self.forward_tokens} tokens of a forward pass ({mine} on each process);"
                " choose another pool or micro_batch_size"
            )
        if pool % (self.data.sequence_length or 1):
            raise BadInput(f"{name} must hold whole sequences of data.sequence_length = {self.data.sequence_length}")
        if pool * self.routing.top_k < self.moe.experts:
            raise BadInput(
                f"{name}: {pool} tokens leave some of {self.moe.experts} experts without one; enlarge the pool"
            )

    def _check_task(self) -> None:
        data, training = self.data, self.training
        if self.task == "vision":
            if training.epochs is None or self.ecology is None or not isinstance(self.optimizer, AdamWConfig):
                raise BadInput("task = vision needs training.epochs, an ecology section and optimizer.kind = adamw")
            return
        needed = ("vocab_size", "sequence_length", "tokenizer_megabytes", "train_tokens", "validation_tokens")
        missing = [f"data.{name}" for name in needed if getattr(data, name) is None]
        if missing:
            raise BadInput(f"task = language needs {', '.join(missing)}; set them")
        if training.tokens is not None and training.tokens < training.batch_size * data.sequence_length:
            raise BadInput(
                f"training.tokens = {training.tokens} is less than one batch of {training.batch_size} x"
                f" {data.sequence_length} tokens; raise it"
            )

    @property
    def pool_tokens(self) -> int:
        """Tokens that experts choose from: one sequence, a number, or one forward pass over all processes."""
        if self.routing.pool == "sequence":
            return self.data.sequence_length or 1
        return self.forward_tokens if self.routing.pool == "batch" else self.routing.pool

    @property
    def forward_tokens(self) -> int:
        """Tokens (or images) of one forward pass over all processes."""
        return (self.data.sequence_length or 1) * self.training.micro_batch_size * self.engine.world_size

    @property
    def accumulation(self) -> int:
        """Forward passes of one optimiser step on one process."""
        return self.training.batch_size // (self.training.micro_batch_size * self.engine.world_size)


_SECTIONS = {"data": DataConfig, "moe": MoEConfig, "routing": RoutingConfig, "ecology": EcologyConfig,
             "census": CensusConfig,
             "training": TrainingConfig, "engine": EngineConfig}  # fmt: skip
_KINDS = {"gpt": GPTConfig, "wide_resnet": WideResNetConfig, "muon_adamw": MuonConfig, "adamw": AdamWConfig}


def build_run_config(values: dict, source: str) -> RunConfig:
    """Frozen settings from schema-checked values; BadInput names `source` when sections disagree."""
    built: dict[str, object] = {"task": values["task"]}
    try:
        for name, section in values.items():
            if isinstance(section, dict):
                built[name] = _build(_KINDS[section["kind"]] if "kind" in section else _SECTIONS[name], section)
        built = {"ecology": None, "census": None} | built
        return RunConfig(**built)
    except BadInput as error:
        raise BadInput(f"{source}: {error}") from error


def _build(cls: type, section: dict) -> object:
    return cls(**{f.name: _frozen(section[f.name]) for f in fields(cls)})


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
