"""States, and reasons in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from moe_replication.config.figures import figure_code
from moe_replication.config.fingerprint import PACKAGE, TRAINING_CODE
from moe_replication.data.code import CORPUS_CODE, DOMAIN_CODE, IMAGE_CODE, TOKEN_CODE
from moe_replication.errors import named
from moe_replication.report.sections import PAGES_CODE, SCORECARD_CODE
from moe_replication.why.snakemake_plan import JobState, ParamChange

UP_TO_DATE, STALE, MISSING, INTERRUPTED = "up to date", "stale", "missing", "interrupted"
_SHOWN = 3
_LONGEST = 80  # characters of a value that are shown
# What a rule's code is called, and where it is: the version of a rule says that code differs, not which file.
_EVALUATION = ("probe code", ("evaluation", "config/probe.py", "data/tokenizer.py", "statistics/probe_tables.py"))
_STATISTICS = ("statistics code", ("statistics",))
_CODE = {
    "corpus": ("data code", CORPUS_CODE), "tokens": ("data code", TOKEN_CODE), "images": ("data code", IMAGE_CODE),
    "domains": ("data code", DOMAIN_CODE), "train": ("training code", TRAINING_CODE),
    "probe": _EVALUATION, "scan": _EVALUATION, "core": _EVALUATION,
    "collect": _STATISTICS, "compare": _STATISTICS, "claims": ("scorecard code", SCORECARD_CODE),
    "pages": ("report code", PAGES_CODE), "mirror": ("tracking code", ("tracking",)),
}  # fmt: skip


def job_reasons(job: JobState, root: Path) -> tuple[str, tuple[str, ...]]:
    """State of a job and the reasons for it; an up-to-date job has none, or a warning."""
    if not job.planned:
        note = () if job.remembered else ("not made here by Snakemake: only file times are compared",)
        return UP_TO_DATE, note
    if job.incomplete:
        return INTERRUPTED, (f"stopped while it wrote {listed(job.incomplete)}",)
    if len(job.missing) == len(job.outputs):
        return MISSING, ("not made yet",)
    state = MISSING if job.missing else STALE
    reasons = [f"missing: {listed(job.missing)}"] if job.missing else []
    for words, files in (
        ("newer input", job.newer), ("input added", job.added_inputs), ("input gone", job.dropped_inputs),
    ):  # fmt: skip
        reasons += [f"{words}: {listed(files)}"] if files else []
    oldest = min(
        (root / file for file in job.outputs if file not in job.missing), key=lambda path: path.stat().st_mtime
    )
    reasons += [param_reason(job.rule, change, oldest) for change in job.params]
    reasons += ["its command differs"] if job.command_changed else []
    reasons += [_follows(job.before)] if job.before else []
    return state, tuple(reasons or ["Snakemake runs it again"])


def param_reason(rule: str, change: ParamChange, made: Path) -> str:
    """A changed parameter in words; of a code version also the modules that are newer than the file `made`."""
    shown = [text.strip("'") for text in (change.old, change.new) if text is not None]
    values = " -> ".join(shown)
    if change.name != "code":
        return f"{change.name}: {values}" if len(values) <= _LONGEST else f"{change.name} differs"
    name, entries = _code_of(rule)
    return f"{name} differs ({values}){newer_code(entries, made)}"


def newer_code(entries: Iterable[str], made: Path) -> str:
    """`, edited since: FILE` of modules newer than the file `made`, the newest first; empty where none is."""
    ages = {file: file.stat().st_mtime for entry in entries for file in _modules(PACKAGE / entry)}
    newest_first = sorted(ages, key=lambda file: -ages[file])
    names = [file.relative_to(PACKAGE).as_posix() for file in newest_first if ages[file] > made.stat().st_mtime]
    return f", edited since: {listed(names)}" if names else ""


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more."""
    return named(names, _SHOWN)


def _follows(titles: Sequence[str]) -> str:
    return f"follows on {len(titles)} jobs" if len(titles) > _SHOWN else f"follows on: {'; '.join(titles)}"


def _code_of(rule: str) -> tuple[str, Iterable[str]]:
    kind, _, rest = rule.partition("_")
    return ("figure code", figure_code(rest)) if kind == "figures" else _CODE.get(kind, ("code", ()))


def _modules(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]
