"""The scalars of a probe that claims may use, from its tables alone.

Legend: W bins, L MoE layers, E experts.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import polars as pl

from moe_replication.evaluation.documents import DOMAINS, VALIDATION
from moe_replication.evaluation.specialization import domain_distance

Metrics = dict[str, float | None]


def probe_metrics(tables: dict[str, pl.DataFrame]) -> Metrics:
    """Every scalar by name; those of routing are absent under dense models."""
    metrics = document_metrics(tables["documents"])
    if tables["fanout"].height:
        metrics |= fanout_metrics(tables["fanout"])
        metrics |= zero_metrics(tables["zero_tokens"])
        metrics |= specialization_metrics(tables["specialization"])
        metrics |= consistency_metrics(tables["consistency"])
        metrics |= shift_metrics(tables["shift"])
    return metrics


def document_metrics(documents: pl.DataFrame) -> Metrics:
    """loss_{domain}, and val_loss_documents with its interval over documents."""
    metrics: Metrics = {}
    for row in documents.iter_rows(named=True):
        if row["domain"] == VALIDATION:
            metrics |= {"val_loss_documents": row["loss"]}
            metrics |= {f"val_loss_documents_{end}": row[end] for end in ("ci_low", "ci_high")}
        else:
            metrics[f"loss_{row['domain']}"] = row["loss"]
    return metrics


def fanout_metrics(fanout: pl.DataFrame) -> Metrics:
    """Mean fan-out, fan-out of the first position over the mean, and its slope over loss; _training where measured.

    The slope is that of least squares of fan-out / mean on the mean loss of the bins, per nat.
    """
    metrics: Metrics = {}
    for mode in fanout["mode"].unique(maintain_order=True):
        suffix = "" if mode == "causal" else f"_{mode}"
        overall = fanout.filter(pl.col("mode") == mode, pl.col("layer").is_null())
        position, loss = (overall.filter(pl.col("axis") == axis) for axis in ("position", "loss"))
        mean = float(np.average(position["fanout"], weights=position["tokens"]))
        metrics[f"fanout_mean{suffix}"] = mean
        metrics[f"fanout_first_position{suffix}"] = position["fanout"][0] / mean if mean else None
        slope = _slope(loss["centre"].to_numpy(), loss["fanout"].to_numpy())
        metrics[f"fanout_loss_slope{suffix}"] = slope / mean if mean and slope is not None else None
    return metrics


def zero_metrics(zero_tokens: pl.DataFrame) -> Metrics:
    """zero_expert_share_{domain}: share of (token, layer) pairs that no routed expert sees."""
    metrics: Metrics = {}
    for (domain,), part in zero_tokens.filter(pl.col("layer").is_null()).group_by("domain", maintain_order=True):
        metrics[f"zero_expert_share_{domain}"] = float(np.average(part["share"], weights=part["tokens"]))
    return metrics


def specialization_metrics(specialization: pl.DataFrame) -> Metrics:
    """specialization_{a}_{b}: distance of every two domains' use of the experts."""
    ratios = {domain: _layer_expert(specialization.filter(pl.col("domain") == domain)) for domain in DOMAINS}
    pairs = combinations((*DOMAINS[1:], VALIDATION), 2)
    return {f"specialization_{a}_{b}": domain_distance(ratios[a], ratios[b]) for a, b in pairs}


def consistency_metrics(consistency: pl.DataFrame) -> Metrics:
    """consistency_{metric}: mean over all pairs of snapshots; _last: the last two."""
    metrics: Metrics = {}
    for (name,), part in consistency.group_by("metric", maintain_order=True):
        metrics[f"consistency_{name}"] = part["value"].mean()
        metrics[f"consistency_{name}_last"] = part.sort("step_a", "step_b")["value"][-1]
    return metrics


def shift_metrics(shift: pl.DataFrame) -> Metrics:
    """shift_load_worst_{batch}_{tokens}: the largest load over the target load of all domains at a batch size."""
    worst = shift.group_by("batch", "batch_tokens", maintain_order=True).agg(pl.col("load_worst").max())
    return {f"shift_load_worst_{batch}_{tokens}": value for batch, tokens, value in worst.iter_rows()}


def _slope(x_W: np.ndarray, y_W: np.ndarray) -> float | None:
    spread_W = x_W - x_W.mean()
    square = float((spread_W**2).sum())
    return float((spread_W * (y_W - y_W.mean())).sum()) / square if square else None


def _layer_expert(part: pl.DataFrame) -> np.ndarray:
    layers = part["layer"].n_unique()
    return part.sort("layer", "expert")["ratio"].to_numpy().reshape(layers, -1)
