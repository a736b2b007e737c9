"""The CORE benchmark (Li et al. 2024; paper A, Tables 1 and 2): 22 in-context tasks, centred accuracy.

Multiple choice and schema: the option with the lowest mean loss per token is the answer, the first of equal ones.
Language modelling: right when every token of the answer is the most likely one. A task's centred accuracy is 0 for
guessing and 1 for no mistake; CORE is the mean over tasks in percent.

Prompts may be longer than the sequences of training: rotary angles are computed for as many positions as a prompt has.
nanochat's core_eval.py crops only for models with a `max_seq_len`, which its own GPT has not; CoreSettings.window
says whether and where to crop here, and the column `cropped` how much that touched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tokenizers import Tokenizer

from moe_replication.config.core import CORE_FILES, CoreSettings
from moe_replication.config.probe import probe_folder
from moe_replication.config.project import Project, Run
from moe_replication.data.tokenizer import encode
from moe_replication.evaluation.checkpoints import load_language_model, snapshots, tokenizer_of
from moe_replication.evaluation.core_bundle import CoreBundle, CoreTask
from moe_replication.evaluation.core_prompts import few_shots, ordered, prompts, scored_options
from moe_replication.evaluation.core_scoring import OptionScore, Row, batches, example_rows, score_batch
from moe_replication.files import atomic_path, write_json
from moe_replication.models.gpt import GPT
from moe_replication.statistics.probe_tables import CORE_COLUMNS

_ENCODED = 256  # examples whose prompts are encoded together: enough to keep every core busy


@dataclass(frozen=True, kw_only=True)
class Examinee:
    """A model and how it reads: at most `window` tokens if any, below the logits in the precision of `trunk`."""

    model: GPT
    tokenizer: Tokenizer
    window: int | None
    device: torch.device
    trunk: AbstractContextManager


class Answers(NamedTuple):
    """Whether each example is answered rightly, in the settings' order, and the share of options that are cropped."""

    right: list[bool]
    cropped: float


def centered_accuracy(accuracy: float, baseline: float) -> float:
    """(accuracy - 0.01 baseline) / (1 - 0.01 baseline), the baseline in percent (paper A, CORE)."""
    return (accuracy - 0.01 * baseline) / (1 - 0.01 * baseline)


def core_score(table: pl.DataFrame) -> float:
    """CORE in percent: the mean of the tasks' centred accuracies."""
    return 100 * float(table["centered"].mean())


def answer_task(
    examinee: Examinee, task: CoreTask, settings: CoreSettings, done: Callable[[int], object] = lambda examples: None
) -> Answers:
    """Answer a task; `done` is told how many more examples are answered.

    A limit leaves out examples but no few shots: those scored are scored as without it.
    """
    items = ordered(task.items, settings.order_seed)
    chosen = items[: settings.max_examples]
    rows = [row for first in range(0, len(chosen), _ENCODED) for row in _rows(examinee, task, settings, items, first)]
    missing = Counter(row.example for row in rows)
    scores: list[dict[int, OptionScore]] = [{} for _ in chosen]
    for batch in batches(rows, settings.batch_tokens):
        found = score_batch(examinee.model, batch, examinee.device, examinee.trunk)
        for row, options in zip(batch, found, strict=True):
            scores[row.example] |= {span.option: score for span, score in zip(row.spans, options, strict=True)}
        missing.subtract(row.example for row in batch)
        done(sum(missing[example] == 0 for example in {row.example for row in batch}))
    right = [_is_right(task, item, found) for item, found in zip(chosen, scores, strict=True)]
    cropped = [span.cropped for row in rows for span in row.spans]
    return Answers(right, sum(cropped) / len(cropped))


def evaluate_core(examinee: Examinee, bundle: CoreBundle, settings: CoreSettings, label: str = "CORE") -> pl.DataFrame:
    """One row a task (CORE_COLUMNS), in the bundle's order, with a bar on a terminal; shares are fractions."""
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    total = sum(len(task.items[: settings.max_examples]) for task in bundle.tasks)
    table = []
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task(label, total=total)
        for task in bundle.tasks:
            progress.update(bar, description=f"{label}: {task.name}")
            right, cropped = answer_task(examinee, task, settings, lambda examples: progress.advance(bar, examples))
            accuracy = sum(right) / len(right)
            centered = centered_accuracy(accuracy, task.baseline)
            table.append((task.name, task.kind, task.shots, len(right), accuracy, centered, cropped))
    return pl.DataFrame(table, schema=CORE_COLUMNS, orient="row")


def score_runs(
    project: Project, runs: Sequence[Run], bundle: CoreBundle, settings: CoreSettings
) -> Iterator[tuple[Run, float]]:
    """Score the last snapshot of every run, write its core.parquet and core.json, and yield CORE in percent.

    BadInput for a run without weights, before a model is loaded.
    """
    newest = [snapshots(project.root, run)[-1] for run in runs]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for run, snapshot in zip(runs, newest, strict=True):
        length = run.config.data.sequence_length
        examinee = Examinee(
            model=load_language_model(run, snapshot.path, device),
            tokenizer=tokenizer_of(project, run),
            window=length if settings.window == "training" else settings.window,
            device=device,
            trunk=trunk_precision(run.config.engine.precision, device),
        )
        table = evaluate_core(examinee, bundle, settings, f"{run.condition} seed {run.seed}")
        summary = {
            "core": core_score(table),
            "bundle_sha256": bundle.sha256,
            "tasks": len(bundle.tasks),
            "max_examples": settings.max_examples,
            "window": examinee.window,
            "step": snapshot.step,
        }
        folder = project.root / probe_folder(run)
        with atomic_path(folder / CORE_FILES[0]) as temporary:
            table.write_parquet(temporary)
        write_json(folder / CORE_FILES[1], summary)
        yield run, summary["core"]


def trunk_precision(wanted: str, device: torch.device) -> AbstractContextManager:
    """bfloat16 where the GPU multiplies it and engine.precision allows it, as in training; float32 elsewhere."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported() and wanted in ("auto", "bfloat16"):
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


def _rows(
    examinee: Examinee, task: CoreTask, settings: CoreSettings, items: Sequence[dict], first: int
) -> Iterator[Row]:
    """Rows of the scored examples from number `first` on, _ENCODED of them."""
    examples = range(len(items))[: settings.max_examples][first : first + _ENCODED]
    texts = []
    for example in examples:
        shots = few_shots(items, example, task.shots, settings.shots_seed)
        texts.append(prompts(task, items[example], shots))
    encoded = iter(encode(examinee.tokenizer, [text for example in texts for text in example]))
    for example, its in zip(examples, texts, strict=True):
        options = scored_options(task.kind, [next(encoded) for _ in its], examinee.window)
        yield from example_rows(example, options)


def _is_right(task: CoreTask, item: dict, scores: dict[int, OptionScore]) -> bool:
    if task.kind == "language_modeling":
        return scores[0].exact
    losses = [scores[option].loss for option in range(len(scores))]
    return losses.index(min(losses)) == item["gold"]
