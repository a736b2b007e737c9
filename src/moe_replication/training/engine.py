"""DeepSpeed behind a small interface; the only module that imports it."""

from __future__ import annotations

import atexit
import logging
import os
import sys
from pathlib import Path

# Muon's kernels are wrapped in torch.compile, which needs a compiler at run time and changes the fourth
# digit of the losses; eager everywhere keeps runs comparable.
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")

import torch
import torch.distributed as dist
from torch import Tensor, nn

from moe_replication.config.run import RunConfig
from moe_replication.config.sections import MuonConfig
from moe_replication.errors import BadInput
from moe_replication.training.launch import MEETING_FILE
from moe_replication.training.newton_schulz import orthogonalized
from moe_replication.training.optimizers import adamw_groups, check_groups, learning_rates, muon_groups


def _import_deepspeed():
    # Said explicitly, DeepSpeed does not warn at every start that it found no GPU.
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    # DeepSpeed's autotuner imports MLflow when it finds it: half of the start-up time for nothing used here.
    absent = "mlflow" not in sys.modules
    if absent:
        sys.modules["mlflow"] = None
    try:
        import deepspeed
        from deepspeed.ops import __compatible_ops__
        from deepspeed.runtime.zero.muon import original_muon
        from deepspeed.runtime.zero.muon.muon_optimizer import MuonWithAuxAdam
    finally:
        if absent:
            del sys.modules["mlflow"]
    # Would be compiled with a C++ compiler on first use (50 s); gloo's own collectives serve.
    __compatible_ops__["deepspeed_shm_comm"] = False
    if not torch.cuda.is_available():
        original_muon.zeropower_via_gram_newtonschulz = orthogonalized
    deepspeed.logger.setLevel(logging.WARNING)
    return deepspeed, MuonWithAuxAdam


deepspeed, MuonWithAuxAdam = _import_deepspeed()


def choose_precision(wanted: str) -> tuple[torch.dtype, str]:
    """Parameter dtype and the reason for it; `auto` asks the hardware."""
    if wanted != "auto":
        return getattr(torch, wanted), "set by engine.precision"
    if torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported()
        return (torch.bfloat16, "GPU multiplies bfloat16") if fast else (torch.float32, "GPU without bfloat16")
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    if "amx_bf16" in flags or "avx512_bf16" in flags:
        return torch.bfloat16, "CPU multiplies bfloat16"
    return torch.float32, "CPU would emulate bfloat16"


def start_distributed(world_size: int) -> None:
    """Join the process group that the launcher's (or torchrun's) variables describe, else a group of one."""
    launched = dist.get_world_size() if dist.is_initialized() else int(os.environ.get("WORLD_SIZE", "1"))
    if launched != world_size:
        raise BadInput(
            f"engine.world_size = {world_size}, but {launched} process(es) were launched;"
            " start with moe-replication train, or set engine.world_size"
        )
    if dist.is_initialized():
        return
    backend = "gloo"
    if torch.cuda.is_available():
        backend = "nccl"
        torch.cuda.set_device(_device_number())
    if MEETING_FILE in os.environ:
        store = dist.FileStore(os.environ[MEETING_FILE], world_size)
        dist.init_process_group(backend, store=store, rank=int(os.environ["RANK"]), world_size=world_size)
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="0")
    elif "RANK" in os.environ:
        dist.init_process_group(backend)
    else:
        os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="0")
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    deepspeed.init_distributed(dist_backend=backend, verbose=False)
    # Threads of a group that is left open can abort the process after its work is done.
    atexit.register(dist.destroy_process_group)


def _device_number() -> int:
    """This rank's GPU among those that it sees."""
    number, visible = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if number >= visible:
        raise BadInput(
            f"engine.world_size: process {number} of this machine finds {visible} GPU(s) (CUDA_VISIBLE_DEVICES ="
            f" {os.environ.get('CUDA_VISIBLE_DEVICES', 'unset')}); give every process one, or lower engine.world_size"
        )
    return number


class Engine:
    """A model under DeepSpeed: backward, accumulation, ZeRO and the optimiser step."""

    def __init__(self, model: nn.Module, config: RunConfig) -> None:
        self.config = config
        self.dtype, self.dtype_reason = choose_precision(config.engine.precision)
        if self.dtype == torch.bfloat16 and config.engine.zero_stage == 0:
            raise BadInput(
                "engine.zero_stage = 0 with bfloat16: DeepSpeed's optimiser of that path takes a wrong first Adam step;"
                " use stage 1 or 2, or engine.precision = float32"
            )
        start_distributed(config.engine.world_size)
        self.settings = deepspeed_config(config, self.dtype)
        self.deepspeed, self.optimizer, _, _ = deepspeed.initialize(
            model=model, optimizer=make_optimizer(model, config), config=self.settings
        )
        self.device = self.deepspeed.device

    def set_learning_rates(self, step: int, steps: int) -> float:
        """Set every group's rate for `step`; returns the first group's."""
        multipliers = learning_rates(self.config.optimizer, step, steps)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * multipliers[group["name"]]
        return self.optimizer.param_groups[0]["lr"]

    def backward(self, loss: Tensor) -> None:
        """Accumulate one forward pass's gradient; DeepSpeed divides by the number of accumulated passes."""
        self.deepspeed.backward(loss)

    def step(self) -> bool:
        """Called after every backward pass; whether the weights moved, as after the last of a step they should."""
        self.deepspeed.step()
        return self.deepspeed.was_step_applied()

    def barrier(self) -> None:
        """Wait for every rank."""
        dist.barrier()

    def save(self, folder: Path, tag: str, extra: dict) -> None:
        """Write weights, optimiser state and `extra` to folder/tag."""
        self.deepspeed.save_checkpoint(str(folder), tag=tag, client_state=extra, save_latest=False)

    def load(self, folder: Path, tag: str) -> dict:
        """Restore what `save` wrote; returns `extra`."""
        _, extra = self.deepspeed.load_checkpoint(str(folder), tag=tag)
        return extra


def make_optimizer(model: nn.Module, config: RunConfig) -> torch.optim.Optimizer:
    """Muon with AdamW (paper A) or AdamW (paper B).

    Muon goes in ready-made: from a JSON section DeepSpeed would tag every matrix for Muon, head and
    embedding included.
    """
    if isinstance(config.optimizer, MuonConfig):
        groups = muon_groups(model, config.optimizer, config.model.width)
        check_groups(model, groups)
        return MuonWithAuxAdam(groups)
    groups = adamw_groups(model, config.optimizer)
    check_groups(model, groups)
    return torch.optim.AdamW(groups)


def deepspeed_config(config: RunConfig, dtype: torch.dtype) -> dict:
    """DeepSpeed's JSON, made from the run's settings."""
    zero: dict = {"stage": config.engine.zero_stage}
    if config.engine.offload == "optimizer":
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": torch.cuda.is_available()}
    return {
        "train_micro_batch_size_per_gpu": config.training.micro_batch_size,
        "gradient_accumulation_steps": config.accumulation,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        # Else only DeepSpeed's own Adam may be offloaded: it would have to be compiled, and Muon has no such version.
        "zero_force_ds_cpu_optimizer": False,
        "bf16": {"enabled": dtype == torch.bfloat16},
        "gradient_clipping": config.optimizer.gradient_clipping if isinstance(config.optimizer, MuonConfig) else 0.0,
        "steps_per_print": 10**9,
    }
