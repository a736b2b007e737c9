"""A scale's finished runs into a bundle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from moe_replication.bundles.archive import write_bundle
from moe_replication.config.core import CORE_FILES, core_runs, core_settings
from moe_replication.config.figures import PROBE_TABLES, SCAN_TABLES
from moe_replication.config.jobs import RECORD_FILES, has_record
from moe_replication.config.probe import probe_files, probe_folder, probed_runs, scanned_runs
from moe_replication.config.project import Project, Run
from moe_replication.errors import BadInput, named
from moe_replication.files import read_json
from moe_replication.statistics.collect import read_record

# Versions that the manifest counts: name -> file of the run directory that holds it.
VERSIONS = {"training_code": "run.json", "lock_sha256": "run.json", "git_commit": "environment.json"}


def export_runs(project: Project, settings: Mapping, out: Path) -> tuple[dict, list[Run]]:
    """Write every finished run of the project, its probes and config/ into `out`.

    `settings` is config.yaml with what is laid over it. Returns the manifest and the runs left out because their
    record or probes are missing or not current; BadInput when no run is finished, or names a faulty record.
    """
    wanted = _wanted_probes(project)
    unfinished = _unfinished(project, wanted)
    left_out = {run.folder for run in unfinished}
    finished = [run for run in project.runs if run.folder not in left_out]
    if not finished:
        raise BadInput(
            f"no finished run at scale {project.scale.name}; make replicate SCALE={project.scale.name} first"
        )
    contents = _config_files(project.root)
    for run in finished:
        read_record(project.root / run.folder)
        contents |= _files_of(project, run, wanted[run.folder])
    return write_bundle(out, _about(project, settings, finished, contents), contents), unfinished


def check_complete(project: Project) -> None:
    """BadInput when a run of the project is not finished: the workflow would want to train."""
    missing = _unfinished(project, _wanted_probes(project))
    if missing:
        names = named(f"{run.paper} {run.condition} seed {run.seed}" for run in missing)
        raise BadInput(
            f"the bundle lacks the record or probes of {len(missing)} runs of its own config/: {names};"
            " finish them before exporting, or export --set 'conditions=[...]' what is finished"
        )


def portable_settings(settings: Mapping) -> dict:
    """config.yaml for another machine: no folders of this one, but whether a set had a local copy still counts.

    A set without a root is replaced by the scale's stand-in; nothing reads the folders named here.
    """
    data = settings["data"]
    roots = {name: root and f"data/roots/{name}" for name, root in data["roots"].items()}
    return {
        **settings,
        "data": {**data, "folder": "data", "roots": roots},
        "tracking": {"enabled": False, "uri": None},
    }


def _about(project: Project, settings: Mapping, finished: list[Run], contents: Mapping[str, bytes]) -> dict:
    """What the manifest says beside hashes: origin, versions and counts; nothing that changes from call to call."""
    versions = {
        name: dict(Counter(str(read_json(project.root / run.folder / file)[name]) for run in finished))
        for name, file in VERSIONS.items()
    }
    probed, scored = (sum(name.endswith(f"/{file}") for name in contents) for file in ("metrics.json", CORE_FILES[1]))
    return {
        "scale": project.scale.name,
        "settings": portable_settings(settings),
        "versions": {"moe-replication": metadata.version("moe-replication"), **versions},
        "counts": {
            "runs": dict(Counter(run.paper for run in finished)),
            "probed_runs": probed,
            "core_runs": scored,
            "files": len(contents),
            "bytes": sum(map(len, contents.values())),
        },
    }


def _files_of(project: Project, run: Run, probes: tuple[str, ...]) -> dict[str, bytes]:
    folders = {"runs": project.root / run.folder, "probes": project.root / probe_folder(run)}
    # CORE tables go along where somebody had them made, whatever the settings of today.
    scored = [file for file in CORE_FILES if (folders["probes"] / file).is_file()]
    wanted = {"runs": RECORD_FILES, "probes": dict.fromkeys((*probes, *scored))}
    return {
        f"{place}/{run.paper}/{run.condition}/seed-{run.seed}/{file}": (folders[place] / file).read_bytes()
        for place, files in wanted.items()
        for file in files
    }


def _unfinished(project: Project, wanted: Mapping[Path, tuple[str, ...]]) -> list[Run]:
    """Runs without a current record or without a probe file that the workflow makes of them."""
    return [
        run
        for run in project.runs
        if not has_record(project, run)
        or not all((project.root / probe_folder(run) / file).is_file() for file in wanted[run.folder])
    ]


def _wanted_probes(project: Project) -> dict[Path, tuple[str, ...]]:
    """Run directory -> names of the probe and CORE files that the workflow makes of the run."""
    scored = {run.folder for run in core_runs(project, core_settings(project.root))}
    wanted: dict[Path, tuple[str, ...]] = {run.folder: () for run in project.runs}
    for run in probed_runs(project):
        wanted[run.folder] = (*probe_files(PROBE_TABLES), *(CORE_FILES if run.folder in scored else ()))
    return wanted | {run.folder: probe_files(SCAN_TABLES) for run in scanned_runs(project)}


def _config_files(root: Path) -> dict[str, bytes]:
    files = sorted(path for path in (root / "config").rglob("*") if path.suffix in (".yaml", ".md"))
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}
