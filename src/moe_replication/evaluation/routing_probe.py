"""Forward passes over a text, and what their routing looked like token by token.

Legend: B sequences, T positions, N = B*T tokens, L MoE layers, E experts, W bins.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from moe_replication.evaluation.documents import Text
from moe_replication.models.gpt import GPT
from moe_replication.routing import RoutingContext


@dataclasses.dataclass(kw_only=True)
class RoutedBatch:
    """One forward pass: loss (float32) and position of every token, routing of every layer (L may be 0)."""

    losses_N: Tensor
    positions_N: Tensor
    mask_LNE: Tensor
    logits_LNE: Tensor
    gates_LNE: Tensor


@torch.no_grad()
def routed_batches(
    model: GPT, text: Text, length: int, forward_tokens: int, pool_tokens: int | None = None
) -> Iterator[RoutedBatch]:
    """Passes over non-overlapping windows of `length` tokens, in order; the rest that fills no window comes last.

    Causal; with `pool_tokens` experts choose from pools of that size as in training, a pass holds whole pools,
    and tokens that fill no pool are left out. Routing states stay as they are.
    """
    device = model.embedding.device
    for rows, columns, first in _shapes(text.tokens, length, forward_tokens, pool_tokens):
        ids_N1 = torch.from_numpy(text.ids[first : first + rows * columns + 1]).to(device)
        inputs_BT, targets_BT = ids_N1[:-1].view(rows, columns), ids_N1[1:].view(rows, columns)
        context = RoutingContext(training=pool_tokens is not None, pool_tokens=pool_tokens or rows * columns)
        with unchanged_states(model):
            output = model(inputs_BT, context)
        yield RoutedBatch(
            losses_N=model.token_losses(output.hidden_BTD, targets_BT),
            positions_N=torch.arange(columns, device=device).repeat(rows),
            mask_LNE=_stacked([o.selection.mask_NE for o in output.routing]),
            logits_LNE=_stacked([o.logits_NE.detach() for o in output.routing]),
            gates_LNE=_stacked([o.selection.gates_NE.detach() for o in output.routing]),
        )


@contextmanager
def unchanged_states(model: GPT) -> Iterator[None]:
    """A training pass writes into its layers' states; inside, they are copies that are thrown away."""
    layers = model.moe_layers()
    kept = [layer.state for layer in layers]
    try:
        for layer in layers:
            layer.state = copy.deepcopy(layer.state)
        yield
    finally:
        for layer, state in zip(layers, kept, strict=True):
            layer.state = state


class TokenRoutes:
    """Loss, position and fan-out of every token of a text, gathered over passes."""

    def __init__(self) -> None:
        self._losses: list[np.ndarray] = []
        self._positions: list[np.ndarray] = []
        self._fanouts: list[np.ndarray] = []

    def add(self, batch: RoutedBatch) -> None:
        """Keep three small numbers a token and layer."""
        self._losses.append(batch.losses_N.cpu().numpy())
        self._positions.append(batch.positions_N.cpu().numpy())
        self._fanouts.append(batch.mask_LNE.sum(dim=-1).to(torch.int16).cpu().numpy())

    @property
    def losses_N(self) -> np.ndarray:
        return np.concatenate(self._losses)

    @property
    def positions_N(self) -> np.ndarray:
        return np.concatenate(self._positions)

    @property
    def fanout_LN(self) -> np.ndarray:
        return np.concatenate(self._fanouts, axis=1)

    def fanout_rows(self, mode: str, length: int, loss_bins: int, position_ratio: float) -> list[dict]:
        """Mean experts a token, by position and by token loss (paper A, Figures 5 and 15-17)."""
        positions_N, losses_N, fanout_LN = self.positions_N, self.losses_N, self.fanout_LN
        rows = []
        for axis, values_N, bins in (
            ("position", positions_N, position_bins(positions_N, length, position_ratio)),
            ("loss", losses_N, quantile_bins(losses_N, loss_bins)),
        ):
            for row in _by_bin(values_N, fanout_LN, bins, "fanout"):
                rows.append({"mode": mode, "axis": axis, **row})
        return rows

    def zero_rows(self, domain: str, loss_bins: int) -> list[dict]:
        """Share of tokens that no routed expert sees, by token loss."""
        losses_N = self.losses_N
        table = _by_bin(losses_N, self.fanout_LN == 0, quantile_bins(losses_N, loss_bins), "share")
        return [{"domain": domain, **row} for row in table]


def position_bins(positions_N: np.ndarray, length: int, ratio: float) -> list[tuple[float, float, np.ndarray]]:
    """(low, high, tokens) of the half-open bins [0, 1), [1, 2), then growing by `ratio` up to `length`."""
    edges = [0, 1]
    while edges[-1] < length:
        edges.append(min(length, max(edges[-1] + 1, round(edges[-1] * ratio))))
    which_N = np.searchsorted(edges, positions_N, side="right") - 1
    bins = [(low, high, np.flatnonzero(which_N == at)) for at, (low, high) in enumerate(pairwise(edges))]
    return [(float(low), float(high), tokens) for low, high, tokens in bins if len(tokens)]


def quantile_bins(values_N: np.ndarray, count: int) -> list[tuple[float, float, np.ndarray]]:
    """(low, high, tokens) of `count` bins of equally many tokens, from the smallest value up."""
    parts = np.array_split(np.argsort(values_N, kind="stable"), count)
    return [(float(values_N[p[0]]), float(values_N[p[-1]]), p) for p in parts if len(p)]


class RouterMeter:
    """Histograms and moments of router logits (all tokens) and gates (chosen tokens), by layer and expert."""

    def __init__(self, layers: int, experts: int, logit_width: float, gate_bins: int) -> None:
        self.logit_width, self.gate_bins = logit_width, gate_bins
        self.tokens = 0
        self.load_LE = torch.zeros(layers, experts, dtype=torch.float64)
        self.gate_LE, self.logit_LE, self.square_LE = (torch.zeros_like(self.load_LE) for _ in range(3))
        self._logit_counts: list[dict[int, int]] = [{} for _ in range(layers)]
        self._gate_counts: list[dict[int, int]] = [{} for _ in range(layers)]

    def add(self, batch: RoutedBatch) -> None:
        """Count one pass."""
        mask_LNE, logits_LNE = batch.mask_LNE, batch.logits_LNE.double()
        self.tokens += mask_LNE.shape[1]
        self.load_LE += mask_LNE.sum(dim=1).cpu()
        self.gate_LE += (batch.gates_LNE.double() * mask_LNE).sum(dim=1).cpu()
        self.logit_LE += logits_LNE.sum(dim=1).cpu()
        self.square_LE += logits_LNE.square().sum(dim=1).cpu()
        for layer, mask_NE in enumerate(mask_LNE):
            gates_A = batch.gates_LNE[layer][mask_NE].double()
            _count(self._logit_counts[layer], (logits_LNE[layer] / self.logit_width).floor())
            _count(self._gate_counts[layer], (gates_A * self.gate_bins).floor().clamp(max=self.gate_bins - 1))

    def histogram_rows(self) -> list[dict]:
        """Counts by half-open bin, empty bins left out."""
        rows = []
        for quantity, counts_L, width in (
            ("logit", self._logit_counts, self.logit_width),
            ("gate", self._gate_counts, 1 / self.gate_bins),
        ):
            for layer, counts in enumerate(counts_L):
                for at, count in sorted(counts.items()):
                    low, high = at * width, (at + 1) * width
                    rows.append({"quantity": quantity, "layer": layer, "low": low, "high": high, "count": count})
        return rows

    def cutoff_rows(self, model: GPT, has_cutoff: bool) -> list[dict]:
        """Cut-off, logit moments over all tokens and mean gate over chosen ones, by layer and expert."""
        mean_LE = self.logit_LE / self.tokens
        spread_LE = (self.square_LE / self.tokens - mean_LE.square()).clamp_min(0).sqrt()
        rows = []
        for layer, module in enumerate(model.moe_layers()):
            cutoffs = module.state.cutoff_E.tolist()
            for expert, cutoff in enumerate(cutoffs):
                load = self.load_LE[layer, expert].item()
                rows.append(
                    {
                        "layer": layer,
                        "expert": expert,
                        "cutoff": cutoff if has_cutoff else None,
                        "logit_mean": mean_LE[layer, expert].item(),
                        "logit_std": spread_LE[layer, expert].item(),
                        "gate_mean": self.gate_LE[layer, expert].item() / load if load else None,
                    }
                )
        return rows


def _shapes(tokens: int, length: int, forward_tokens: int, pool_tokens: int | None) -> Iterator[tuple[int, int, int]]:
    """(rows, columns, first token) of every pass."""
    if pool_tokens is None:
        whole, per_pass = tokens // length, max(1, forward_tokens // length)
    else:
        pools = max(1, forward_tokens // pool_tokens)
        whole, per_pass = tokens // pool_tokens * pool_tokens // length, pools * pool_tokens // length
    for row in range(0, whole, per_pass):
        yield min(per_pass, whole - row), length, row * length
    rest = tokens - whole * length
    if rest and pool_tokens is None:
        yield 1, rest, whole * length


def _stacked(parts: list[Tensor]) -> Tensor:
    return torch.stack(parts) if parts else torch.zeros(0, 0, 0)


def _by_bin(
    values_N: np.ndarray, numbers_LN: np.ndarray, bins: list[tuple[float, float, np.ndarray]], name: str
) -> Iterator[dict]:
    """Mean of `numbers_LN` in every bin, over layers (layer None) and by layer."""
    for at, (low, high, tokens) in enumerate(bins):
        place = {"bin": at, "low": low, "high": high, "centre": float(values_N[tokens].mean(dtype=np.float64))}
        means_L = numbers_LN[:, tokens].mean(axis=1, dtype=np.float64)
        for layer, mean in ((None, means_L.mean()), *enumerate(means_L)):
            yield {"layer": layer, **place, name: float(mean), "tokens": len(tokens)}


def _count(counts: dict[int, int], bins: Tensor) -> None:
    found, numbers = bins.to(torch.int64).unique(return_counts=True)
    for at, number in zip(found.tolist(), numbers.tolist(), strict=True):
        counts[at] = counts.get(at, 0) + number
