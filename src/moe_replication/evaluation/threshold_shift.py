"""Load of small inference batches under frozen cut-offs, in and out of domain.

Without training's capacity limit nothing bounds what an expert gets from a batch. A cut-off decides token by
token, so neither a token's experts nor its loss depend on the batch; the load does.
Legend: P batches of M tokens, A = P * M, L MoE layers, N tokens, D documents, E experts, k = M * top_k / E the target
load.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from moe_replication.evaluation.documents import Text

BATCHES = ("prefill", "decode")


def prefill_batches(tokens: int, batch_tokens: int) -> np.ndarray:
    """Token numbers (P, M) of batches of consecutive tokens; tokens that fill no batch are left out."""
    batches = tokens // batch_tokens
    return np.arange(batches * batch_tokens).reshape(batches, batch_tokens)


def decode_batches(text: Text, batch_tokens: int, seed: int) -> np.ndarray:
    """Token numbers (P, M) of batches that hold one token of each of M sequences, decoded side by side.

    The documents, in an order drawn with `seed`, are dealt to M sequences of P = N // M tokens each, and batch p is
    the p-th token of every sequence. Tokens of a batch are thus of M documents where none is longer than P, and as
    far apart as the text allows where one is. Every token is in one batch, but N mod M that are left out.
    """
    lengths_D = np.diff(text.starts_D, append=text.tokens)
    order_D = np.random.default_rng(seed).permutation(len(lengths_D))
    order_N = np.concatenate([text.starts_D[d] + np.arange(lengths_D[d]) for d in order_D])
    batches = text.tokens // batch_tokens
    return order_N[: batches * batch_tokens].reshape(batch_tokens, batches).T


def shift_rows(
    text: Text, mask_LNE: Tensor, losses_N: Tensor, batch_sizes: tuple[int, ...], top_k: int, seed: int
) -> list[dict]:
    """Rows of the shift table for a text's routing: every batch size in both kinds of batches."""
    rows = []
    for kind in BATCHES:
        for size in batch_sizes:
            numbers_PM = prefill_batches(text.tokens, size) if kind == "prefill" else decode_batches(text, size, seed)
            place = {"domain": text.domain, "batch": kind, "batch_tokens": size}
            rows.append(place | load_statistics(mask_LNE, losses_N, torch.from_numpy(numbers_PM), top_k))
    return rows


def load_statistics(mask_LNE: Tensor, losses_N: Tensor, numbers_PM: Tensor, top_k: int) -> dict:
    """Usage and load of the batches whose token numbers are given, null where there is none.

    usage_low and usage_high are the least and most used expert of a batch and layer, load_max_over_mean leaves
    out layers of a batch that use no expert, load_worst is the largest load over k of all batches and layers.
    """
    batches, size = numbers_PM.shape
    experts = mask_LNE.shape[2]
    numbers_A = numbers_PM.flatten()
    least, mean, most = [], [], []
    # A layer at a time: batches of one token have as many loads as the mask has entries.
    for mask_NE in mask_LNE:
        load_PE = mask_NE[numbers_PM].sum(dim=1).double()
        least.append(load_PE.amin(dim=1))
        mean.append(load_PE.mean(dim=1))
        most.append(load_PE.amax(dim=1))
    least_LP, mean_LP, most_LP = (torch.stack(parts) for parts in (least, mean, most))
    used_LP = mean_LP > 0
    return {
        "loss": _mean(losses_N[numbers_A]),
        "usage_mean": _mean(mean_LP / size),
        "usage_low": _mean(least_LP / size),
        "usage_high": _mean(most_LP / size),
        "load_max_over_mean": _mean(most_LP[used_LP] / mean_LP[used_LP]),
        "load_worst": most_LP.max().item() / (size * top_k / experts) if batches else None,
        "zero_expert_share": _mean(~mask_LNE[:, numbers_A].any(dim=2)),
        "tokens": batches * size,
    }


def _mean(values: Tensor) -> float | None:
    return values.double().mean().item() if values.numel() else None
