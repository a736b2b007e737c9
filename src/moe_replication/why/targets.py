"""One row a target: its state, the reasons and the cost, of all of a scale or of those that a name picks."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from moe_replication.config.jobs import RECORD_FILES, RunGroup
from moe_replication.config.project import Project, Run
from moe_replication.errors import BadInput
from moe_replication.why.costs import UNKNOWN, Cost, run_costs, total
from moe_replication.why.run_states import RunState, run_state
from moe_replication.why.snakemake_plan import JobState
from moe_replication.why.words import STALE, UP_TO_DATE, job_reasons

_SEEDS = re.compile(r", seeds? (\d+(?:, \d+)*)")
_FORGOTTEN = "Snakemake has no memory of how it was made and keeps it: delete run.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What a job makes; runs of a condition in one state for one reason are one target, whatever jobs train them."""

    rules: tuple[str, ...]
    title: str
    state: str
    reasons: tuple[str, ...]
    files: tuple[str, ...]
    runs: tuple[Run, ...] = ()
    cost: Cost

    @property
    def names(self) -> set[str]:
        """What a user may call it: the rule, a file, its name with or without suffix, a folder, a condition."""
        paths = [PurePosixPath(file) for file in self.files]
        places = {str(place) for path in paths for place in (path, *path.parents[:-1])}
        conditions = {found[1] for file in self.files if (found := re.search(r"/([^/]+)/seed-\d+/", file))}
        return {*self.rules, *places, *conditions, *(path.name for path in paths), *(path.stem for path in paths)}


def find_targets(project: Project, jobs: Sequence[JobState], wanted: str | None = None) -> list[Target]:
    """Rows in the order of the jobs; with `wanted`, a name or pattern, only what it names.

    BadInput with close matches where it names nothing.
    """
    states = {run: run_state(project, run) for run in project.runs}
    targets = [target for job in jobs for target in _targets(project, job, states)]
    of_jobs = {run for target in targets for run in target.runs}
    imported = [run for run, found in states.items() if run not in of_jobs and found.state == UP_TO_DATE]
    targets = [*(_imported(run, states[run]) for run in imported), *targets]
    if wanted is not None:
        targets = _picked(targets, wanted, project)
    costs = run_costs(project, {run: states[run] for target in targets for run in target.runs})
    costed = [
        dataclasses.replace(target, cost=total(costs[run] for run in target.runs)) if target.runs else target
        for target in targets
    ]
    return _over_seeds(costed)


def _targets(project: Project, job: JobState, states: dict[Run, RunState]) -> Iterator[Target]:
    runs = [run for run in states if f"{run.folder}/run.json" in job.outputs]
    if not runs:
        state, reasons = job_reasons(job, project.root)
        cost = Cost(seconds=job.seconds, source="unknown" if job.seconds is None else "measured")
        yield Target(rules=(job.rule,), title=job.title, state=state, reasons=reasons, files=job.outputs, cost=cost)
        return
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        groups.setdefault((run.condition, *_run_reasons(project, job, states[run])), []).append(run)
    for (_, state, reasons), members in groups.items():
        files = (file for run in members for file in job.outputs if file.startswith(f"{run.folder}/"))
        yield Target(
            rules=(job.rule,), title=f"train {RunGroup(runs=tuple(members)).title}", state=state, reasons=reasons,
            files=tuple(files), runs=tuple(members), cost=UNKNOWN,
        )  # fmt: skip


def _imported(run: Run, state: RunState) -> Target:
    """A run that no job makes: it came in a bundle."""
    return Target(
        rules=(), title=f"import {RunGroup(runs=(run,)).title}", state=state.state, reasons=state.reasons,
        files=tuple(f"{run.folder}/{file}" for file in RECORD_FILES), runs=(run,), cost=UNKNOWN,
    )  # fmt: skip


def _run_reasons(project: Project, job: JobState, run: RunState) -> tuple[str, tuple[str, ...]]:
    """The record knows which setting or code differs; what Snakemake knows besides is said of current records only."""
    if run.state != UP_TO_DATE:
        return run.state, run.reasons if job.planned else (*run.reasons, _FORGOTTEN)
    if not job.planned:
        return UP_TO_DATE, run.reasons
    return STALE, ("its record is current, but its job runs again", *job_reasons(job, project.root)[1])


def _over_seeds(targets: Sequence[Target]) -> list[Target]:
    """Jobs that differ in nothing but the seed as one."""
    groups: dict[tuple, list[Target]] = {}
    for target in targets:
        title, seeded = _SEEDS.subn("", target.title)
        groups.setdefault((title, target.state, target.reasons, None if seeded else target.rules), []).append(target)
    return [_joined(members) if len(members) > 1 else members[0] for members in groups.values()]


def _joined(members: Sequence[Target]) -> Target:
    seeds = sorted(int(seed) for member in members for seed in _SEEDS.search(member.title)[1].split(", "))
    return dataclasses.replace(
        members[0],
        title=_SEEDS.sub(f", seeds {', '.join(map(str, seeds))}", members[0].title),
        rules=tuple(rule for member in members for rule in member.rules),
        files=tuple(file for member in members for file in member.files),
        runs=tuple(run for member in members for run in member.runs),
        cost=total(member.cost for member in members),
    )


def _picked(targets: Sequence[Target], wanted: str, project: Project) -> list[Target]:
    name = os.path.relpath(wanted, project.root) if os.path.isabs(wanted) else os.path.normpath(wanted)
    picked = [target for target in targets if fnmatch.filter(target.names, name)]
    if picked:
        return picked
    known = {known for target in targets for known in target.names}
    close = difflib.get_close_matches(name, sorted(known), n=3)
    hint = f"did you mean {', '.join(close)}?" if close else "why without TARGET lists all"
    raise BadInput(
        f"TARGET {wanted!r}: no file, folder, condition or rule of scale {project.scale.name} has this name; {hint}"
    )
