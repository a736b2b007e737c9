"""Trained models for probes: snapshots of a finished run, loaded without DeepSpeed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from tokenizers import Tokenizer

from moe_replication.config.needs import data_path
from moe_replication.config.project import Project, Run
from moe_replication.data.image_input import ImageInput
from moe_replication.data.tokenizer import load_tokenizer
from moe_replication.errors import BadInput
from moe_replication.files import read_json
from moe_replication.models.gpt import GPT
from moe_replication.models.tiered_moe import TieredMoEClassifier
from moe_replication.routing import RoutingContext

Model = TypeVar("Model", GPT, TieredMoEClassifier)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Weights and routing states after `step` optimiser steps."""

    step: int
    path: Path


def snapshots(root: Path | str, run: Run) -> list[Snapshot]:
    """Snapshots of a finished run, oldest first; BadInput when the run or its weights are not there."""
    root = Path(root)
    record = root / run.folder / "run.json"
    name = read_json(record).get("run")
    key = name.get("run_key") if isinstance(name, dict) else None
    if not isinstance(key, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", key):
        raise BadInput(f"{record}: run.run_key = {key!r} is no name of a folder; delete it and train the run again")
    folder = root / "results" / run.scale / "checkpoints" / key / "snapshots"
    files = sorted(folder.glob("step-*.pt"))
    found = [Snapshot(step=int(path.stem.removeprefix("step-")), path=path) for path in files]
    if not found:
        raise BadInput(f"{folder}: holds no weights of {run.folder}; delete {run.folder}/run.json and train it again")
    return found


def load_language_model(run: Run, path: Path, device: torch.device | str = "cpu") -> GPT:
    """The run's model with the weights and cut-offs of a snapshot, in evaluation mode and float32."""
    return _restored(GPT(run.config), path, device)


def load_vision_model(
    run: Run, path: Path, images: ImageInput, device: torch.device | str = "cpu"
) -> TieredMoEClassifier:
    """The run's classifier of `images` with the weights of a snapshot, in evaluation mode and float32."""
    return _restored(TieredMoEClassifier(run.config, images.channels, images.classes), path, device)


def _restored(model: Model, path: Path, device: torch.device | str) -> Model:
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(saved["model"])
        for layer, state in zip(model.moe_layers(), saved["task"]["routing"], strict=True):
            layer.state.load_state_dict(state)
    # A truncated file, foreign objects, other shapes: torch raises types of its zip reader, pickle and its own.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInput(f"{path}: holds no weights of this run ({reason}); delete it and train the run again") from error
    model.float().to(device).eval()
    for layer in model.moe_layers():
        layer.state.to(torch.device(device))
    return model


def causal_context(tokens: int) -> RoutingContext:
    """Circumstances of causal evaluation: no pool, no warm-up, no capacity limit."""
    return RoutingContext(training=False, pool_tokens=tokens)


def tokenizer_of(project: Project, run: Run) -> Tokenizer:
    """The tokenizer that the run's data was encoded with."""
    return load_tokenizer(project.root / data_path(project.data_folder, run.config) / "tokenizer.json")
