"""The probe of finished runs: one causal pass over every domain, and the routing of the snapshots compared.

All of it is causal but one table's second mode: under expert choice the fan-out of its own top-k over pools, as in
training, is measured too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import polars as pl
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from tokenizers import Tokenizer
from torch import Tensor

from moe_replication.config.needs import data_path
from moe_replication.config.probe import METRICS_FILE, ProbeSettings, domains_folder, probe_folder
from moe_replication.config.project import Project, Run
from moe_replication.config.sections import CUTOFF_RULES
from moe_replication.data.shards import TokenShards
from moe_replication.errors import BadInput
from moe_replication.evaluation.checkpoints import Snapshot, load_language_model, snapshots, tokenizer_of
from moe_replication.evaluation.consistency import ConsistencySums
from moe_replication.evaluation.documents import (
    DOMAINS,
    VALIDATION,
    Text,
    document_row,
    domain_texts,
    validation_text,
)
from moe_replication.evaluation.probe_metrics import Metrics, probe_metrics
from moe_replication.evaluation.routing_probe import RoutedBatch, RouterMeter, TokenRoutes, routed_batches
from moe_replication.evaluation.specialization import specialization_rows
from moe_replication.evaluation.threshold_shift import shift_rows
from moe_replication.evaluation.token_map import token_map_rows
from moe_replication.files import atomic_path, write_json
from moe_replication.models.gpt import GPT
from moe_replication.statistics.probe_tables import SCHEMAS, probe_table

Rows = dict[str, list[dict]]


def probe_in_turn(project: Project, runs: list[Run], settings: ProbeSettings) -> None:
    """Probe runs and write their files, one line each; BadInput before the first where one cannot be probed."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    console = Console(soft_wrap=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("probe", total=None)
        probes = [_prepared(project, run, settings, device, lambda tokens: bar.advance(task, tokens)) for run in runs]
        bar.update(task, total=sum(probe.tokens_to_read for probe in probes))
        for probe in probes:
            run, started = probe.run, time.perf_counter()
            bar.update(task, description=f"{run.condition} seed {run.seed}")
            tables = {name: probe_table(name, rows) for name, rows in probe.measure().items()}
            metrics = probe_metrics(tables)
            write_probe(project.root / probe_folder(run), tables, metrics)
            console.print(_line(run, metrics, time.perf_counter() - started), markup=False)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A run and what it is measured on, validation first; `advance` hears of every token read."""

    run: Run
    settings: ProbeSettings
    found: list[Snapshot]
    texts: list[Text]
    tokenizer: Tokenizer
    device: str
    advance: Callable[[int], None]

    @property
    def compared(self) -> Text:
        """Validation tokens on which snapshots are compared."""
        return self.texts[0].head(self.settings.consistency_tokens)

    @property
    def tokens_to_read(self) -> int:
        """Tokens of all passes, for the progress bar."""
        rule = self.run.config.routing.rule
        passes = sum(text.tokens for text in self.texts)
        passes += self.texts[0].tokens if rule == "expert_choice" else 0
        return passes + (len(self.found) * self.compared.tokens if rule != "dense" else 0)

    def measure(self) -> Rows:
        """Rows of every table; those of routing stay empty under dense models."""
        model = load_language_model(self.run, self.found[-1].path, self.device)
        rows: Rows = {name: [] for name in SCHEMAS}
        for text in self.texts:
            self._survey(model, text, rows)
        if self.run.config.routing.rule == "expert_choice":
            self._training_fanout(model, rows)
        if model.moe_layers():
            self._compare_snapshots(rows)
        return rows

    def _read(self, model: GPT, text: Text, pool_tokens: int | None = None) -> Iterator[RoutedBatch]:
        """Passes as large as those of training on one process."""
        config = self.run.config
        length = config.data.sequence_length
        for batch in routed_batches(model, text, length, length * config.training.micro_batch_size, pool_tokens):
            yield batch
            self.advance(len(batch.losses_N))

    def _survey(self, model: GPT, text: Text, rows: Rows) -> None:
        """One causal pass over a domain."""
        config, settings = self.run.config, self.settings
        experts, layers, top_k = config.moe.experts, len(model.moe_layers()), config.routing.top_k
        routes = TokenRoutes()
        router = RouterMeter(layers, experts, settings.logit_bin_width, settings.gate_bins)
        masks: list[Tensor] = []
        for batch in self._read(model, text):
            routes.add(batch)
            if layers:
                router.add(batch)
                masks.append(batch.mask_LNE.cpu())
        rows["documents"].append(document_row(text, routes.losses_N))
        if not layers:
            return
        rows["specialization"] += specialization_rows(text.domain, router.load_LE, router.tokens)
        rows["zero_tokens"] += routes.zero_rows(text.domain, settings.loss_bins)
        losses_N, sizes = torch.from_numpy(routes.losses_N), settings.shift_batch_tokens
        rows["shift"] += shift_rows(text, torch.cat(masks, dim=1), losses_N, sizes, top_k, settings.shift_seed)
        map_size = settings.token_map_samples, settings.token_map_tokens
        rows["token_map"] += token_map_rows(model, text, self.tokenizer, *map_size)
        if text.domain == VALIDATION:
            rows["fanout"] += self._fanout(routes, "causal")
            rows["histograms"] = router.histogram_rows()
            rows["cutoffs"] = router.cutoff_rows(model, config.routing.rule in CUTOFF_RULES)

    def _training_fanout(self, model: GPT, rows: Rows) -> None:
        """Expert choice as it is trained: its own top-k over the pool."""
        routes = TokenRoutes()
        for batch in self._read(model, self.texts[0], self.run.config.pool_tokens):
            routes.add(batch)
        rows["fanout"] += self._fanout(routes, "training")

    def _fanout(self, routes: TokenRoutes, mode: str) -> list[dict]:
        length, settings = self.run.config.data.sequence_length, self.settings
        return routes.fanout_rows(mode, length, settings.loss_bins, settings.position_bin_ratio)

    def _compare_snapshots(self, rows: Rows) -> None:
        """Every pair of snapshots on the same tokens (paper A, Figures 8 and 14)."""
        routing = {snapshot.step: self._edges(snapshot) for snapshot in self.found}
        horizon = self.found[-1].step
        for a, b in combinations(routing, 2):
            sums = ConsistencySums()
            for edges_a, edges_b in zip(routing[a], routing[b], strict=True):
                sums.add(*edges_a, *edges_b)
            pair = {"step_a": a, "step_b": b, "fraction_a": a / horizon, "fraction_b": b / horizon}
            rows["consistency"] += [{**pair, "metric": name, "value": value} for name, value in sums.result().items()]

    def _edges(self, snapshot: Snapshot) -> list[tuple[Tensor, Tensor]]:
        """Mask and gates of every pass."""
        model = load_language_model(self.run, snapshot.path, self.device)
        return [(batch.mask_LNE.cpu(), batch.gates_LNE.cpu()) for batch in self._read(model, self.compared)]


def write_probe(folder: Path, tables: dict[str, pl.DataFrame], metrics: Metrics) -> None:
    """Every table, then metrics.json: where it is, the probe is whole."""
    (folder / METRICS_FILE).unlink(missing_ok=True)
    for name, table in tables.items():
        with atomic_path(folder / f"{name}.parquet") as path:
            table.write_parquet(path)
    write_json(folder / METRICS_FILE, metrics)


def _prepared(
    project: Project, run: Run, settings: ProbeSettings, device: str, advance: Callable[[int], None]
) -> Probe:
    """Open what a run's probe reads; BadInput names what is missing."""
    found, tokenizer = snapshots(project.root, run), tokenizer_of(project, run)
    shards = TokenShards.open(project.root / data_path(project.data_folder, run.config))
    validation = validation_text(shards, settings.validation_tokens)
    domains = domain_texts(
        project.root / domains_folder(project.data_folder, run), tokenizer, settings.domain_documents
    )
    pool = run.config.pool_tokens
    if run.config.routing.rule == "expert_choice" and validation.tokens < pool:
        raise BadInput(
            f"probe.validation_tokens = {settings.validation_tokens}: the {validation.tokens} validation tokens do not"
            f" fill a pool of {pool} tokens of condition {run.condition}; raise it, or data.validation_tokens"
        )
    return Probe(
        run=run, settings=settings, found=found, texts=[validation, *domains], tokenizer=tokenizer, device=device,
        advance=advance,
    )  # fmt: skip


def _line(run: Run, metrics: Metrics, seconds: float) -> str:
    domains = ", ".join(f"{name} {metrics[f'loss_{name}']:.4f}" for name in DOMAINS[1:])
    routing = f"; fan-out {metrics['fanout_mean']:.3f}" if "fanout_mean" in metrics else ""
    loss = f"validation {metrics['val_loss_documents']:.4f}"
    return f"probed {run.condition} seed {run.seed}: {loss}, {domains}{routing} in {seconds:.1f} s"
