"""A bundle's runs into a project's results, or into a project of their own for the report."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import yaml

from moe_replication.bundles.archive import Bundle
from moe_replication.bundles.exporting import portable_settings
from moe_replication.config.fingerprint import training_code_version
from moe_replication.config.jobs import RECORD_FILES
from moe_replication.config.overrides import CONFIG, read_settings
from moe_replication.config.project import Project, load_project
from moe_replication.errors import BadInput, named
from moe_replication.files import read_json, write_json, write_text
from moe_replication.statistics.collect import read_record

NEW, REPLACED, UNCHANGED = "new", "replaced", "unchanged"
# What the DAG needs besides config/; the discrepancies are a page of the report.
WORKFLOW = ("Snakefile", "workflow", "docs/discrepancies.md")


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """One run of a bundle: its record, its files by path below results/{scale}, and what importing does with it."""

    record: dict
    files: dict[str, bytes]
    outcome: str

    @property
    def name(self) -> tuple[str, str, int]:
        """Paper, condition and seed."""
        run = self.record["run"]
        return run["paper"], run["condition"], run["seed"]

    @property
    def folder(self) -> str:
        """{paper}/{condition}/seed-{n}, below runs/ and probes/."""
        paper, condition, seed = self.name
        return f"{paper}/{condition}/seed-{seed}"


def import_runs(project: Project, bundle: Bundle, replace: bool) -> list[str]:
    """Write the runs of a verified bundle below the project's results/{scale}; one line a paper says what came in.

    BadInput, before anything is written: a record that is there already differs and `replace` is false, or a record
    of the bundle is faulty.
    """
    results = project.root / "results" / bundle.scale
    results.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _import_staged(project, bundle, results, replace)
    finally:
        with contextlib.suppress(OSError):  # it holds something
            results.parent.rmdir()


def make_project(bundle: Bundle, source: Path, folder: Path) -> None:
    """A new project folder: workflow and discrepancies of `source`, config/ and settings of the bundle.

    BadInput, before anything is written, when the folder is not empty or the bundle's config/ is faulty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"--into {folder}: is not empty; name a new folder")
    with tempfile.TemporaryDirectory() as stage:
        _lay_out(bundle, source, Path(stage))
        load_project(stage)
        shutil.copytree(stage, folder, dirs_exist_ok=True)


def _import_staged(project: Project, bundle: Bundle, results: Path, replace: bool) -> list[str]:
    with tempfile.TemporaryDirectory(dir=results.parent, prefix=".import-") as stage:
        staged = Path(stage, bundle.scale)
        arrivals = [_staged(bundle, folder, files, staged, results) for folder, files in _runs_of(bundle).items()]
        differing = [arrival.folder for arrival in arrivals if arrival.outcome == REPLACED]
        if differing and not replace:
            raise BadInput(
                f"{results}/runs: {len(differing)} records are there already and differ: {named(differing)};"
                " --replace takes those of the bundle"
            )
        for arrival in arrivals:
            if arrival.outcome != UNCHANGED:
                # The record last: a run is never there without its probes.
                for place in ("probes", "runs"):
                    _swap(staged / place / arrival.folder, results / place / arrival.folder, Path(stage, "old"))
    return [_line(project, paper, arrivals) for paper in sorted({arrival.name[0] for arrival in arrivals})]


def _lay_out(bundle: Bundle, source: Path, folder: Path) -> None:
    for part in WORKFLOW:
        copy = shutil.copytree if (source / part).is_dir() else shutil.copy
        (folder / part).parent.mkdir(exist_ok=True)
        copy(source / part, folder / part)
    for name, content in bundle.contents.items():
        if name.startswith("config/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    write_text(folder / CONFIG, yaml.safe_dump(bundle.manifest["settings"] | {"scale": bundle.scale}))
    # Once more, now that the schema knows every key: a bundle must not name folders of this machine.
    settings = portable_settings(read_settings(folder, {}))
    write_text(folder / CONFIG, yaml.safe_dump(settings, sort_keys=False))
    for root in filter(None, settings["data"]["roots"].values()):
        (folder / root).mkdir(parents=True)


def _runs_of(bundle: Bundle) -> dict[str, dict[str, bytes]]:
    """Files by run, {paper}/{condition}/seed-{n}; BadInput for a run that lacks a file, and for stray probes."""
    runs: dict[str, dict[str, bytes]] = {}
    for name, content in bundle.contents.items():
        place, _, rest = name.partition("/")
        if place != "config":
            runs.setdefault(rest.rpartition("/")[0], {})[name] = content
    for folder, files in runs.items():
        missing = [file for file in RECORD_FILES if f"runs/{folder}/{file}" not in files]
        if missing:
            raise BadInput(f"{bundle.path}: runs/{folder} lacks {', '.join(missing)}; export the bundle again")
    return runs


def _staged(bundle: Bundle, folder: str, files: dict[str, bytes], staged: Path, results: Path) -> Arrival:
    """Write a run into the staging folder, marked as imported, and check it there as `collect` would."""
    for name, content in files.items():
        (staged / name).parent.mkdir(parents=True, exist_ok=True)
        (staged / name).write_bytes(content)
    path = staged / "runs" / folder / "run.json"
    try:
        write_json(path, read_json(path) | {"imported": True})
        read_record(path.parent)
    except BadInput as error:
        raise BadInput(f"{bundle.path}: {str(error).replace(f'{staged}/', '')}") from error
    arrived = path.stat().st_mtime
    for name in files:  # one time for all: no record newer than its probes
        os.utime(staged / name, (arrived, arrived))
    return Arrival(record=read_json(path), files=files, outcome=_outcome(folder, files, results))


def _outcome(folder: str, files: dict[str, bytes], results: Path) -> str:
    if not (results / "runs" / folder / "run.json").exists():
        return NEW
    present = {name: (results / name).read_bytes() for name in files if (results / name).exists()}
    if any(not _same(name, files[name], content) for name, content in present.items()):
        return REPLACED
    return UNCHANGED if len(present) == len(files) else NEW


def _same(name: str, ours: bytes, theirs: bytes) -> bool:
    """Equal bytes, or records that differ in the mark of an import alone."""
    if not name.endswith("/run.json") or ours == theirs:
        return ours == theirs
    try:
        first, second = json.loads(ours), json.loads(theirs)
        return {**first, "imported": None} == {**second, "imported": None}
    except (ValueError, TypeError, RecursionError):  # a damaged record is a different one
        return False


def _swap(new: Path, place: Path, aside: Path) -> None:
    """Rename a folder into place; what was there goes aside, to be deleted with the staging folder."""
    if place.exists():
        aside.mkdir(exist_ok=True)
        os.rename(place, Path(tempfile.mkdtemp(dir=aside), "old"))
    if new.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        os.rename(new, place)


def _line(project: Project, paper: str, arrivals: list[Arrival]) -> str:
    """What came in of a paper, and what of it the workflow will not take as it is."""
    chosen = [arrival for arrival in arrivals if arrival.name[0] == paper]
    outcomes = Counter(arrival.outcome for arrival in chosen)
    counts = ", ".join(f"{outcomes[kind]} {kind}" for kind in (NEW, REPLACED, UNCHANGED) if outcomes[kind])
    probed = sum(any(name.startswith("probes/") for name in arrival.files) for arrival in chosen)
    parts = [f"{paper}: {len(chosen)} runs ({counts}), {probed} with probes"]
    codes = {arrival.record["training_code"] for arrival in chosen} - {training_code_version()}
    if codes:
        parts.append(f"trained by other code than this one's ({', '.join(sorted(codes))})")
    known = {(run.paper, run.condition, run.seed): project.condition(run).version for run in project.runs}
    strange = [arrival.folder for arrival in chosen if arrival.name not in known]
    if strange:
        parts.append(f"not asked for by config/: {named(strange)}")
    versions = ((arrival.folder, arrival.record.get("config_version"), known.get(arrival.name)) for arrival in chosen)
    other = [folder for folder, made_from, today in versions if today not in (None, made_from)]
    if other:
        parts.append(f"made from other settings than config/ has, so they train again: {named(other)}")
    return "; ".join(parts)
