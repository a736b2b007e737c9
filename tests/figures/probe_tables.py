"""Collected probe tables for tests: plausible numbers from a seeded generator. They are fixtures, never results."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl

from moe_replication.statistics.probes import LABELS, STACKED

CONDITIONS = {
    "tc": ("TC", "token_choice"),
    "ec-sequence": ("EC, pool of one sequence", "expert_choice"),
    "ec-8k": ("EC, pool of 8k tokens", "expert_choice"),
    "ec-64k": ("EC, pool of 64k tokens", "expert_choice"),
    "ec-batch": ("EC, pool of the batch", "expert_choice"),
    "et": ("ET, warm-up", "expert_threshold"),
    "et-fallback": ("ET, best expert when none passes", "expert_threshold"),
}
SHARPNESS = {"tc": 0.5, "ec-sequence": 0.2, "ec-8k": 0.4, "ec-64k": 0.7}  # how far an expert leans to a domain
DOMAINS = {"validation": 3.4, "code": 2.9, "math": 3.9}  # loss in nats
LAYERS, EXPERTS = (0, 1, 2), 16
TASKS = ("hellaswag_zeroshot", "arc_easy", "copa", "winograd", "lambada_openai", "bigbench_repeat_copy_logic")
PASSAGES = {
    "validation": (
        "The routing pool | of a layer holds the tokens among which each expert chooses .\nA cut - off replaces "
        "the pool : the token goes to every expert whose logit passes it , wherever the other tokens are ."
    ),
    "code": (
        "def route ( logits , cut ) :\n    # a < b && $x_1$ costs </script> nothing\n"
        "    chosen = logits > cut\n    return chosen . sum ( dim = - 1 )"
    ),
    "math": (
        "Let $ \\alpha_i \\ge 0 $ sum to one . Then the mean of f ( x_i ) is at least f of the mean , by Jensen ' s "
        "inequality , with equality only where f is linear on the hull ."
    ),
}


def probe_tables(
    conditions: tuple[str, ...] = tuple(CONDITIONS), *, seeds: int = 3, layers: tuple[int, ...] = LAYERS
) -> dict[str, pl.DataFrame]:
    """Every stacked probe table of the given conditions; one seed makes one run of each condition."""
    runs = [(name, seed) for name in conditions for seed in range(seeds)]
    makers = {
        "fanout": _fanout,
        "consistency": _consistency,
        "specialization": _specialization,
        "histograms": _histograms,
        "cutoffs": _cutoffs,
        "shift": _shift,
        "zero_tokens": _zero_tokens,
        "token_map": _token_map,
        "documents": _documents,
        "core": _core,
    }
    tables = {f"probe-{name}": _stack(name, make, runs, layers) for name, make in makers.items()}
    metrics = tables["probe-documents"].select("paper", "condition", "seed").unique(maintain_order=True)
    distances = 0.1 + 0.01 * pl.int_range(pl.len()).cast(pl.Float64)
    return tables | {"probe-metrics": metrics.with_columns(specialization_code_math=distances, core=pl.lit(20.0))}


def no_probes() -> dict[str, pl.DataFrame]:
    """The tables of a scale where nothing was probed."""
    return {name: table.clear() for name, table in probe_tables(("tc",), seeds=1).items()}


def _stack(name: str, make, runs: list[tuple[str, int]], layers: tuple[int, ...]) -> pl.DataFrame:
    parts = [pl.DataFrame(schema=LABELS | STACKED[name])]
    for condition, seed in runs:
        title, rule = CONDITIONS[condition]
        generator = np.random.default_rng([7, seed, list(CONDITIONS).index(condition)])
        front = {"paper": "expert-threshold", "condition": condition, "seed": seed, "title": title, "rule": rule}
        rows = make(condition, layers, generator)
        if rows:
            frame = pl.DataFrame(rows, infer_schema_length=None).cast(STACKED[name])
            labels = [pl.lit(value, LABELS[key]).alias(key) for key, value in front.items()]
            parts.append(frame.select(*labels, *STACKED[name]))
    return pl.concat(parts)


def _fanout(condition: str, layers: tuple[int, ...], generator: np.random.Generator) -> list[dict]:
    positions, losses = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512], np.linspace(0, 10, 11).tolist()
    rows = []
    for mode in ("causal", "training") if CONDITIONS[condition][1] == "expert_choice" else ("causal",):
        for axis, edges in (("position", positions), ("loss", losses)):
            spike = 9.0 if condition == "ec-sequence" and axis == "position" else 1.0
            for number, (low, high) in enumerate(pairwise(edges)):
                shape = spike * np.exp(-low) if axis == "position" else 0.1 * (low - 0.1 * low**2)
                lean = -0.2 if mode == "training" else 0.0
                at = {layer: max(0.0, 1 + shape + lean + generator.normal(0, 0.08)) for layer in layers}
                for layer, value in [(None, float(np.mean(list(at.values())))), *at.items()]:
                    row = {"mode": mode, "axis": axis, "layer": layer, "bin": number, "low": float(low)}
                    rows.append(
                        row | {"high": float(high), "centre": (low + high) / 2, "fanout": value, "tokens": 4096}
                    )
    return rows


def _consistency(condition: str, layers: tuple[int, ...], generator: np.random.Generator) -> list[dict]:
    steps, horizon = (52, 105, 157, 200), 200
    rows = []
    for a in range(4):
        for b in range(a + 1, 4):
            value = 0.55 + 0.06 * a + generator.normal(0, 0.02)
            for metric in ("weighted_jaccard", "joint_jsd"):
                row = {"step_a": steps[a], "step_b": steps[b], "metric": metric}
                row |= {"fraction_a": steps[a] / horizon, "fraction_b": steps[b] / horizon}
                rows.append(row | {"value": value if metric == "weighted_jaccard" else 0.6 - 0.7 * value})
    return rows


def _specialization(condition: str, layers: tuple[int, ...], generator: np.random.Generator) -> list[dict]:
    sharp = SHARPNESS.get(condition, 1.0)
    rows = []
    for layer in layers:
        for domain in DOMAINS:
            ratio = np.exp(generator.normal(0, sharp, EXPERTS))
            ratio *= 1 / ratio.sum()
            rows += [
                {"domain": domain, "layer": layer, "expert": expert, "ratio": float(ratio[expert]), "tokens": 24_576}
                for expert in range(EXPERTS)
            ]
    return rows


def _histograms(condition: str, layers: tuple[int, ...], generator: np.random.Generator) -> list[dict]:
    rows = []
    for quantity, span in (("logit", (-8.0, 8.0)), ("gate", (0.0, 1.0))):
        for layer in layers:
            logits = generator.normal(-1.0 - 0.2 * layer, 1.0 + 0.2 * layer, 8000)
            values = logits if quantity == "logit" else 1 / (1 + np.exp(-logits))
            counts, edges = np.histogram(values, bins=64, range=span)
            for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
                row = {"quantity": quantity, "layer": layer, "low": float(low), "high": float(high)}
                rows.append(row | {"count": int(count)})
    return rows


def _cutoffs(condition: str, layers: tuple[int, ...], generator: np.random.Generator) -> list[dict]:
    return [
        {
            "layer": layer,
            "expert": expert,
            "cutoff": None if condition == "tc" else 0.6 + 0.1 * layer + float(generator.normal(0, 0.2)),
            "logit_mean": -1.0,
            "logit_std": 1.2,
            "gate_mean": 0.3,
        }
        for layer in layers
        for expert in range(EXPERTS)
    ]


def _shift(condition: str, layers: tuple[int, ...], generator: np.random.Generator) -> list[dict]:
    rows = []
    zero = 0.0 if condition in ("tc", "et-fallback") else 0.12
    for number, (domain, loss) in enumerate(DOMAINS.items()):
        value = loss + float(generator.normal(0, 0.02))
        unseen = zero * (1 + 0.3 * number) * float(generator.uniform(0.9, 1.1))
        usage = 0.0625 * (1 + 0.1 * number) + float(generator.normal(0, 0.002))
        for kind, uneven in (("prefill", 1.5), ("decode", 1.0)):
            for batch in (1, 16, 256):
                rows.append(
                    {
                        "domain": domain,
                        "batch": kind,
                        "batch_tokens": batch,
                        "loss": value,
                        "usage_mean": usage,
                        "usage_low": usage * (1 - 1 / batch**0.2),
                        "usage_high": min(1.0, usage + uneven * 0.6 / batch**0.4),
                        "load_max_over_mean": 2 + 14 / batch,
                        "load_worst": 2.0 + number * uneven + 13 / batch + float(generator.uniform(0, 0.5)),
                        "zero_expert_share": unseen,
                        "tokens": 24_576,
                    }
                )
    return rows


def _zero_tokens(condition: str, layers: tuple[int, ...], generator: np.random.Generator) -> list[dict]:
    if condition == "tc":
        return []
    rows, bins = [], 10
    for number, (domain, loss) in enumerate(DOMAINS.items()):
        for n in range(bins):
            base = 0.0 if condition == "et-fallback" else 0.08 + 0.03 * number + 0.015 * n
            at = {layer: max(0.0, base + generator.normal(0, 0.01)) if base else 0.0 for layer in layers}
            for layer, share in [(None, float(np.mean(list(at.values())))), *at.items()]:
                row = {"domain": domain, "layer": layer, "bin": n, "low": loss * n / 5, "high": loss * (n + 1) / 5}
                row["centre"] = loss * (n + 0.5) / 5
                rows.append(row | {"share": share, "tokens": 2458})
    return rows


def _documents(condition: str, layers: tuple[int, ...], generator: np.random.Generator) -> list[dict]:
    rows = []
    for domain, level in DOMAINS.items():
        loss = level + float(generator.normal(0, 0.02))
        row = {"domain": domain, "documents": 64, "tokens": 24_576, "loss": loss}
        rows.append(row | {"ci_low": loss - 0.1, "ci_high": loss + 0.1})
    return rows


def _core(condition: str, layers: tuple[int, ...], generator: np.random.Generator) -> list[dict]:
    if condition in ("ec-8k", "et-fallback"):
        return []
    rows = []
    for number, task in enumerate(TASKS):
        right = 0.3 + 0.02 * number + float(generator.normal(0, 0.01))
        kind = "language_modeling" if number > 3 else "multiple_choice"
        row = {"task": task, "kind": kind, "shots": 10, "examples": 500, "cropped": 0.01 * number}
        rows.append(row | {"accuracy": right, "centered": (right - 0.25) / 0.75})
    return rows


def _token_map(condition: str, layers: tuple[int, ...], generator: np.random.Generator) -> list[dict]:
    rows = []
    for domain, passage in PASSAGES.items():
        for position, text in enumerate(_tokens(passage)):
            spike = 4 if condition == "ec-sequence" and position == 0 else 0
            loss = float(generator.exponential(2.0))
            experts = {layer: _some_experts(condition, generator, spike) for layer in layers}
            row = {"domain": domain, "sample": 0, "position": position, "text": text, "loss": loss}
            total = {"layer": None, "fanout": float(sum(map(len, experts.values()))), "experts": None}
            rows.append(row | total)
            rows += [row | {"layer": n, "fanout": float(len(ids)), "experts": ids} for n, ids in experts.items()]
    return rows


def _some_experts(condition: str, generator: np.random.Generator, extra: int) -> list[int]:
    count = 1 if condition == "tc" else min(EXPERTS, int(generator.poisson(1.0)) + extra)
    return sorted(int(n) for n in generator.choice(EXPERTS, count, replace=False))


def _tokens(passage: str) -> list[str]:
    """Words with the space before them, and line breaks as tokens of their own."""
    tokens = []
    for line_number, line in enumerate(passage.split("\n")):
        tokens += ["\n"] if line_number else []
        body = line.lstrip(" ")
        words = [word for word in body.split(" ") if word]
        indent = " " * (len(line) - len(body))
        tokens += [indent + words[0], *(f" {word}" for word in words[1:])]
    return tokens
