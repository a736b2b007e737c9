"""The settings of one run, checked across sections."""

from __future__ import annotations

from dataclasses import dataclass

from moe_replication.config.overlays import frozen_settings
from moe_replication.config.sections import (
    CUTOFF_RULES,
    AdamWConfig,
    CensusConfig,
    DataConfig,
    EcologyConfig,
    EngineConfig,
    GPTConfig,
    MoEConfig,
    MuonConfig,
    RoutingConfig,
    TrainingConfig,
    WideResNetConfig,
)
from moe_replication.errors import BadInput


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
        if self.ecology and self.moe.experts < 2:
            raise BadInput(
                f"moe.tiers = {list(self.moe.tiers)}: the ecology losses and the census compare experts; give at least"
                " two, or set ecology and census to null"
            )
        if self.routing.rule == "dense" and self.ecology is not None:
            raise BadInput("routing.rule = dense has no experts for the ecology losses; set ecology and census to null")
        if self.routing.rule != "softmax_top_k" and self.ecology and self.ecology.random_warmup_fraction:
            raise BadInput(
                f"ecology.random_warmup_fraction = {self.ecology.random_warmup_fraction} is for softmax_top_k, not"
                f" routing.rule = {self.routing.rule}; set it to 0"
            )
        if (self.task == "language") != isinstance(self.model, GPTConfig):
            raise BadInput(f"model.kind = {self.model.kind} does not fit task = {self.task}; use gpt for language")
        self._check_inapplicable()
        if self.task == "language":
            self._check_language()
        else:
            self._check_vision()
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
        if self.routing.rule in CUTOFF_RULES:
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

    def _check_inapplicable(self) -> None:
        others = _IMAGE_DATA if self.task == "language" else _TEXT_DATA
        given = [f"data.{name} = {getattr(self.data, name)}" for name in others if getattr(self.data, name) is not None]
        if given:
            raise BadInput(f"{', '.join(given)} cannot act with task = {self.task}; set to null")
        if self.task == "language" and self.data.augmentation != "none":
            raise BadInput(f"data.augmentation = {self.data.augmentation} is for images; task = language needs none")

    def _check_vision(self) -> None:
        routing = self.routing
        if self.training.epochs is None or self.ecology is None or not isinstance(self.optimizer, AdamWConfig):
            raise BadInput("task = vision needs training.epochs, an ecology section and optimizer.kind = adamw")
        if self.training.activation_checkpointing:
            raise BadInput(
                "training.activation_checkpointing = true acts on language models only, task = vision would ignore it;"
                " set it to false"
            )
        if self.data.pooling is None:
            raise BadInput("task = vision needs data.pooling; set it to 1 for images as they are")
        if routing.balance == "aux":
            raise BadInput(
                "routing.balance = aux is paper A's term for text; on images use ecology.balance_weight, and none here"
            )
        if routing.rule not in CUTOFF_RULES:
            return
        if routing.pool != "batch" or self.engine.world_size > 1:
            raise BadInput(
                f"routing.rule = {routing.rule} on images needs routing.pool = batch and engine.world_size ="
                " 1: the last batch of an epoch is shorter"
            )
        if not self.moe.shared_multiple and not routing.fallback:
            raise BadInput(
                f"moe.shared_multiple = {self.moe.shared_multiple:g} under routing.rule = {routing.rule} on images: an"
                " image that passes no cut-off would have no prediction; give a shared expert, or under"
                " expert_threshold routing.fallback = true"
            )

    def _check_language(self) -> None:
        data, training = self.data, self.training
        missing = [f"data.{name}" for name in _TEXT_DATA if getattr(data, name) is None]
        if missing:
            raise BadInput(f"task = language needs {', '.join(missing)}; set them")
        if self.routing.rule != "dense" and self.model.dense_first_layers >= self.model.layers:
            raise BadInput(
                f"model.dense_first_layers = {self.model.dense_first_layers} leaves none of model.layers ="
                f" {self.model.layers} for routing.rule = {self.routing.rule}; lower it, or set the rule to dense"
            )
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


_TEXT_DATA = ("vocab_size", "sequence_length", "tokenizer_megabytes", "train_tokens", "validation_tokens")
_IMAGE_DATA = ("train_images", "test_images", "pooling")
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
                built[name] = frozen_settings(
                    _KINDS[section["kind"]] if "kind" in section else _SECTIONS[name], section
                )
        built = {"ecology": None, "census": None} | built
        return RunConfig(**built)
    except BadInput as error:
        raise BadInput(f"{source}: {error}") from error
