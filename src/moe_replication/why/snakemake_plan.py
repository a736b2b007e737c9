"""What Snakemake would run at this moment, and its reasons, without running anything.

The one module that imports Snakemake. It builds the DAG as `snakemake --summary` does: no lock is taken, so it also
works while the workflow runs.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moe_replication.config.overrides import OVERRIDES_VARIABLE
from moe_replication.errors import BadInput


@dataclass(frozen=True, kw_only=True, slots=True)
class ParamChange:
    """A parameter of a rule as Python source, when the files were made (None = not known) and today."""

    name: str
    old: str | None
    new: str


@dataclass(frozen=True, kw_only=True, slots=True)
class JobState:
    """A job of the DAG: what Snakemake decided (`planned`) and everything that speaks for running it.

    `before` holds the titles of planned jobs that it reads from, `seconds` how long it took when it last ran.
    `remembered` is False where Snakemake has no memory of how the files were made: it then compares file times only.
    """

    rule: str
    title: str
    outputs: tuple[str, ...]
    planned: bool
    missing: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()
    newer: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    added_inputs: tuple[str, ...] = ()
    dropped_inputs: tuple[str, ...] = ()
    params: tuple[ParamChange, ...] = ()
    command_changed: bool = False
    remembered: bool = True
    seconds: float | None = None


def job_states(root: Path, settings: dict) -> list[JobState]:
    """Every job that makes a file, in the order of the rules; `settings` is laid over config.yaml.

    BadInput where Snakemake is not installed or cannot plan, for example for want of an input.
    """
    if importlib.util.find_spec("snakemake") is None:
        raise BadInput("why asks Snakemake, which is not installed; run make env, or pip install snakemake")
    from snakemake.api import SnakemakeApi
    from snakemake.exceptions import WorkflowError
    from snakemake.settings import types

    output = types.OutputSettings(enable_file_logging=False, log_level_override=logging.ERROR)
    inherited = os.environ.get(OVERRIDES_VARIABLE)
    try:
        with SnakemakeApi(output) as api:
            workflow_api = api.workflow(
                resource_settings=types.ResourceSettings(cores=1),
                config_settings=types.ConfigSettings(config=settings),
                snakefile=(root / "Snakefile").resolve(),
                workdir=root,
            )
            # As the profile says: what an interrupted job left is made again.
            workflow_api.dag(types.DAGSettings(force_incomplete=True))
            workflow = workflow_api._workflow
            workflow._prepare_dag(forceall=False, ignore_incomplete=False, lock_warn_only=True)
            workflow._build_dag()
            order = {rule.name: place for place, rule in enumerate(workflow.rules)}
            jobs = sorted((job for job in workflow.dag.jobs if job.output), key=lambda job: order[job.rule.name])
            return [_state(job, workflow) for job in jobs]
    except WorkflowError as error:
        raise BadInput(f"Snakemake cannot plan: {error}; snakemake --dry-run says more") from error
    finally:
        # The Snakefile sets it for the commands that it runs.
        os.environ.pop(OVERRIDES_VARIABLE, None)
        if inherited is not None:
            os.environ[OVERRIDES_VARIABLE] = inherited


def _state(job: Any, workflow: Any) -> JobState:
    dag, memory = workflow.dag, workflow.persistence
    outputs, title = tuple(map(str, job.output)), job.message or job.rule.name
    remembered = memory.has_metadata(job)
    seconds = _seconds(memory.metadata(job.output[0])) if remembered else None
    if not dag.needrun(job):
        return JobState(
            rule=job.rule.name, title=title, outputs=outputs, planned=False, remembered=remembered, seconds=seconds
        )
    reason = dag.reason(job)
    made = (set(memory.input(file) or ()) for file in job.output)
    then, now = set.union(*made), set(map(str, job.input))
    before = [dependency for dependency in dag.dependencies[job] if dag.needrun(dependency)]
    return JobState(
        rule=job.rule.name, title=title, outputs=outputs, planned=True, remembered=remembered, seconds=seconds,
        missing=tuple(file for file in outputs if not Path(file).exists()),
        incomplete=tuple(map(str, workflow.async_run(memory.incomplete(job)))),
        newer=tuple(sorted(map(str, reason.updated_input - reason.updated_input_run))),
        before=tuple(sorted(dependency.message or dependency.rule.name for dependency in before)),
        added_inputs=tuple(sorted(now - then)) if remembered else (),
        dropped_inputs=tuple(sorted(then - now)) if remembered else (),
        params=param_changes(dict(job.params.items()), memory.params_changed(job)) if remembered else (),
        command_changed=remembered and any(memory.code_changed(job)),
    )  # fmt: skip


def param_changes(params: dict[str, object], change: Any) -> tuple[ParamChange, ...]:
    """Parameters that differ; Snakemake keeps values without names, an old one is known by its form."""
    names = {repr(value): name for name, value in params.items()}
    found = []
    for new in sorted(change.only_new):
        alike = [old for old in change.only_old if _form(old) == _form(new)]
        found.append(
            ParamChange(name=names.get(new, "a parameter"), old=alike[0] if len(alike) == 1 else None, new=new)
        )
    return tuple(sorted(found, key=lambda item: item.name))


def _form(text: str) -> str:
    """Lists are alike, and so are hexadecimal versions of one length; other strings, and numbers."""
    if text.startswith("["):
        return "list"
    if re.fullmatch(r"'[0-9a-f]{12,}'", text):
        return f"version of {len(text)}"
    return "text" if text.startswith("'") else "value"


def _seconds(made: Any) -> float | None:
    return made.endtime - made.starttime if made.starttime and made.endtime else None
