"""Paper B's census at other evaluation temperatures, on finished weights (X2).

Legend: N test images, E experts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from moe_replication.config.needs import data_path
from moe_replication.config.probe import ProbeSettings, probe_folder
from moe_replication.config.project import Project, Run
from moe_replication.config.run import RunConfig
from moe_replication.data.image_input import ImageInput
from moe_replication.data.images import ImageSet
from moe_replication.ecology import census
from moe_replication.evaluation.checkpoints import load_vision_model, snapshots
from moe_replication.evaluation.probe import write_probe
from moe_replication.layers.moe import MoEOutput
from moe_replication.models.tiered_moe import TieredMoEClassifier
from moe_replication.routing import RoutingContext
from moe_replication.statistics.probe_tables import probe_table
from moe_replication.training.image_census import ImageCensus, image_batches


def scan_in_turn(project: Project, runs: list[Run], settings: ProbeSettings) -> None:
    """Scan runs and write their tables, one line each; BadInput before the first where one has no weights."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    console = Console(soft_wrap=True, highlight=False)
    weights: dict[Run, Path] = {run: snapshots(project.root, run)[-1].path for run in runs}
    for run, path in weights.items():
        started = time.perf_counter()
        images = ImageInput(ImageSet.open(project.root / data_path(project.data_folder, run.config)), run.config.data)
        rows = scan(load_vision_model(run, path, images, device), images, run.config, settings.scan_temperatures)
        metrics = scan_metrics(rows)
        write_probe(project.root / probe_folder(run), {"temperature": probe_table("temperature", rows)}, metrics)
        console.print(
            f"scanned {run.condition} seed {run.seed}: T {rows[0]['temperature']:g} to {rows[-1]['temperature']:g},"
            f" accuracy {min(row['accuracy'] for row in rows):.4f} to {max(row['accuracy'] for row in rows):.4f},"
            f" {rows[0]['active_experts']:.0f} to {rows[-1]['active_experts']:.0f} experts active"
            f" in {time.perf_counter() - started:.1f} s",
            markup=False,
        )


def scan(
    model: TieredMoEClassifier, images: ImageInput, config: RunConfig, temperatures: tuple[float, ...]
) -> list[dict]:
    """One row a temperature, rising; the encoder sees every test image once."""
    features = list(_features(model, images))
    return [_row(model, features, config, temperature) for temperature in sorted(temperatures)]


def scan_metrics(rows: list[dict]) -> dict[str, float | None]:
    """How far accuracy and ecology move over all temperatures: largest minus smallest, of the gradient the ratio - 1.

    Experts and tiers by gate mass, as top-1 usage cannot move: no T changes which logit is largest. Of tiers, the one
    that moves most.
    """
    pulls = [row["hard_sample_gradient"] for row in rows]
    shares = np.array([row["mass_tier_shares"] for row in rows])
    return {
        "scan_accuracy_range": _range([row["accuracy"] for row in rows]),
        "scan_mass_active_range": _range([row["active_by_mass"] for row in rows]),
        "scan_mass_tier_range": float(np.ptp(shares, axis=0).max()),
        "scan_hard_gradient_range": None if None in pulls else max(pulls) / min(pulls) - 1,
    }


@torch.no_grad()
def _features(model: TieredMoEClassifier, images: ImageInput) -> Iterator[tuple[Tensor, Tensor]]:
    """What the router sees of the test images, and their labels, batch by batch."""
    device = next(model.parameters()).device
    for planes, labels_N in image_batches(images):
        yield model.features(planes.to(device)), labels_N.to(device)


@torch.no_grad()
def _row(
    model: TieredMoEClassifier, features: list[tuple[Tensor, Tensor]], config: RunConfig, temperature: float
) -> dict:
    """Census of all batches at one temperature; `mass` is each expert's share of the sum of all gates."""
    seen, routed = ImageCensus(), []
    for x_ND, labels_N in features:
        context = RoutingContext(training=False, pool_tokens=len(x_ND), temperature=temperature)
        output = model.classified(x_ND, context)
        seen.add(model, output, labels_N, context)
        routed.append(_entropy_and_gates(output, temperature))
    seen.finish()
    entropies_N, gates_NE = (torch.cat(column).cpu().numpy() for column in zip(*routed, strict=True))
    usage_E = census.usage_shares(seen.top1_N, config.moe.experts)
    sums_E = gates_NE.sum(axis=0, dtype=np.float64)
    mass_E = sums_E / sums_E.sum()
    return {
        "temperature": temperature,
        "accuracy": seen.accuracy,
        "loss": seen.loss,
        "active_experts": float((usage_E >= config.census.dead_share).sum()),
        "hard_sample_gradient": seen.hard_sample_gradient(config.census.hard_share),
        "gate_entropy": float(entropies_N.mean(dtype=np.float64)),
        "usage": usage_E.tolist(),
        "tier_shares": census.tier_shares(usage_E, config.moe.tier_of_expert),
        "mass": mass_E.tolist(),
        "active_by_mass": float((mass_E >= config.census.dead_share).sum()),
        "mass_tier_shares": census.tier_shares(mass_E, config.moe.tier_of_expert),
    }


def _entropy_and_gates(output: MoEOutput, temperature: float) -> tuple[Tensor, Tensor]:
    """Entropy of the router at T, (N,), and the gates of the chosen experts, (N, E), of every image."""
    entropy_N = torch.special.entr((output.logits_NE / temperature).softmax(dim=-1)).sum(dim=-1)
    return entropy_N, output.selection.gates_NE.masked_fill(~output.selection.mask_NE, 0.0)


def _range(values: list[float]) -> float:
    return float(max(values) - min(values))
