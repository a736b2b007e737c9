"""Training runs: how their records compare with today's settings and training code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from moe_replication.config.fingerprint import TRAINING_CODE, training_code_version
from moe_replication.config.jobs import RECORD_FILES, current_key
from moe_replication.config.project import Project, Run
from moe_replication.errors import BadInput
from moe_replication.files import read_json
from moe_replication.why.words import INTERRUPTED, MISSING, STALE, UP_TO_DATE, listed, newer_code

_SETTINGS_SHOWN = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class RunState:
    """A run by its record; `steps_done` counts the steps of a checkpoint that it would go on from."""

    state: str
    reasons: tuple[str, ...] = ()
    steps_done: int = 0


def run_state(project: Project, run: Run) -> RunState:
    """Compare a run's record with today's settings and training code, setting by setting."""
    folder = project.root / run.folder
    missing = [file for file in RECORD_FILES if not (folder / file).is_file()]
    if "run.json" in missing:
        return _without_record(project, run, others=len(RECORD_FILES) - len(missing))
    try:
        record = read_json(folder / "run.json")
    except BadInput as error:
        return RunState(state=STALE, reasons=(str(error),))
    reasons = [*_changed_settings(project, run, record), *_changed_code(record, folder / "run.json")]
    if reasons:
        return RunState(state=STALE, reasons=tuple(reasons))
    if missing:
        return RunState(state=MISSING, reasons=(f"missing: {listed(missing)}",))
    return RunState(state=UP_TO_DATE, reasons=("imported from a bundle",) if _imported(record) else ())


def _without_record(project: Project, run: Run, others: int) -> RunState:
    done = _steps_done(project, run)
    if done:
        reason = f"no record, but a checkpoint after step {done:,}: the run goes on from there"
        return RunState(state=INTERRUPTED, reasons=(reason,), steps_done=done)
    return RunState(
        state=MISSING, reasons=("run.json is missing, other files are there" if others else "never trained",)
    )


def _steps_done(project: Project, run: Run) -> int:
    """Steps of the newest checkpoint that today's settings, data and code would resume from."""
    key = current_key(project, run)
    if key is None:
        return 0
    whole = (project.root / "results" / run.scale / "checkpoints" / key).glob("step-*/manifest.json")
    return max((int(file.parent.name.removeprefix("step-")) for file in whole), default=0)


def _changed_settings(project: Project, run: Run, record: dict) -> list[str]:
    condition = project.condition(run)
    if record.get("config_version") == condition.version:
        return []
    path = run.folder / "config.json"
    try:
        made = read_json(project.root / path).get("config", {})
    except BadInput:
        hashes = f"{record.get('config_version')} -> {condition.version}"
        return [f"settings differ ({hashes}); {path}, which has the old ones, is gone"]
    changes = setting_changes(made, condition.values)
    if not changes:
        return [f"{path} is not the one that the record was made from; train the run again"]
    more = len(changes) - _SETTINGS_SHOWN
    return [*changes[:_SETTINGS_SHOWN], *([f"{more} more settings"] if more > 0 else [])]


def setting_changes(old: object, new: object, key: str = "") -> list[str]:
    """`dotted.key: old -> new` for every leaf that differs; a section or key on one side only counts as one."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = [*new, *(name for name in old if name not in new)]
        below = f"{key}." if key else ""
        return [
            line
            for name in names
            for line in setting_changes(old.get(name, "not set"), new.get(name, "not set"), below + name)
        ]
    return [] if old == new else [f"{key}: {_value(old)} -> {_value(new)}"]


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "a section"
    return "null" if value is None else str(value)


def _changed_code(record: dict, path: Path) -> list[str]:
    code = training_code_version()
    if _imported(record) or record.get("training_code") == code:
        return []
    return [f"training code differs ({record.get('training_code')} -> {code}){newer_code(TRAINING_CODE, path)}"]


def _imported(record: dict) -> bool:
    """Of an imported record only the settings count."""
    return record.get("imported") is True
