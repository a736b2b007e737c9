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

    def __post_init__(self) -> None:
        if len(self.tiers) != len(self.tier_multiples):
            raise BadInput(
                f"moe.tier_multiples = {list(self.tier_multiples)} must have one entry for each of the"
                f" {len(self.tiers)} tiers in moe.tiers"
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
    pool: str
    ema_beta: float
    ema_reference_steps: int | None
    ema_bias_correction: bool
    warmup_fraction: float
    capacity: float
    balance: str
    aux_weight: float
    bias_rate: float
    renormalize: bool
    evaluation_temperature: float


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
    lr_reference_width: int
    betas: tuple[float, float]
    epsilon: float
    weight_decay: float
    adamw_warmup_fraction: float
    final_lr_fraction: float


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
    loss_chunk_tokens: int

    def __post_init__(self) -> None:
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
        if self.routing.rule == "expert_choice" and self.pool_tokens * self.routing.top_k < self.moe.experts:
            raise BadInput(
                f"routing.pool = {self.routing.pool}: {self.pool_tokens} tokens leave some of {self.moe.experts}"
                " experts without one; enlarge the pool"
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
        """Tokens that expert choice picks from: one sequence, or one forward pass over all processes."""
        length = self.data.sequence_length or 1
        if self.routing.pool == "sequence":
            return length
        return length * self.training.micro_batch_size * self.engine.world_size

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
