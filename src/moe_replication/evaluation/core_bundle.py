"""The CORE bundle: found or downloaded, then read and checked as a whole before a model is loaded.

The published layout (DCLM's tasks as nanochat packs them), a folder or a zip, perhaps below `eval_bundle/`:

    core.yaml            icl_tasks: label, dataset_uri, num_fewshot: [n], icl_task_type, continuation_delimiter
    eval_meta_data.csv   a row a task; columns "Eval Task" and "Random baseline" (percent) are read
    eval_data/**         the file of every dataset_uri: one JSON object a line
"""

from __future__ import annotations

import csv
import hashlib
import http.client
import json
import shutil
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlparse

from moe_replication.config.core import CORE_ROOT, CoreSettings
from moe_replication.config.plain_yaml import YamlFault, parse_yaml
from moe_replication.errors import BadInput
from moe_replication.files import atomic_path, sha256_json

# Task type -> (fields that hold a text, field that holds the list of options, if any).
FIELDS = {
    "multiple_choice": (("query",), "choices"),
    "schema": (("continuation",), "context_options"),
    "language_modeling": (("context", "continuation"), None),
}
_KEY = f"data.roots.{CORE_ROOT}"
_REMEDY = f"set {_KEY} to the folder or zip of the published bundle"
_TIMEOUT = 30  # seconds without a byte until a download counts as failed


@dataclass(frozen=True, kw_only=True)
class CoreTask:
    """One task: `shots` solved examples precede a question; guessing scores `baseline` percent."""

    name: str
    kind: str
    shots: int
    delimiter: str
    baseline: float
    items: tuple[dict, ...]


@dataclass(frozen=True, kw_only=True)
class CoreBundle:
    """The tasks in the bundle's order, and the SHA-256 of the names and contents of the files they come from.

    The hash is the same for a folder and for its zip.
    """

    tasks: tuple[CoreTask, ...]
    sha256: str


def find_bundle(place: str | None, settings: CoreSettings, data_folder: Path | str) -> Path:
    """Folder or zip at a path; a URL, or the published one for None, is downloaded below the data folder once.

    BadInput when there is nothing at the path, or nothing comes from the URL.
    """
    url = settings.url if place is None else place
    if not url.startswith(("http://", "https://")):
        if not Path(url).exists():
            raise BadInput(f"{_KEY} = {url!r}: no such folder or zip file; {_REMEDY}")
        return Path(url)
    folder = hashlib.sha256(url.encode()).hexdigest()[:12]
    path = Path(data_folder, "core", folder, PurePosixPath(urlparse(url).path).name or "bundle.zip")
    if not path.exists():
        _download(url, path, "null" if place is None else repr(place))
    return path


def open_bundle(path: Path, settings: CoreSettings) -> CoreBundle:
    """Read and check every task; BadInput names a missing, extra or damaged one."""
    if path.is_dir():
        return _read(path, path, settings)
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(path, zipfile.Path(archive), settings)
    except BadInput:
        raise
    # Damaged offsets, flags and methods come as errors of many types.
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, LookupError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"{path}: not a whole zip file ({reason}); delete it and download it again") from error


def _download(url: str, path: Path, shown: str) -> None:
    try:
        with atomic_path(path) as temporary:
            with urllib.request.urlopen(url, timeout=_TIMEOUT) as response, open(temporary, "wb") as file:
                shutil.copyfileobj(response, file)
            if not zipfile.is_zipfile(temporary):
                raise OSError("what it sends is no zip file")
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"{_KEY}: {shown}, and {url} cannot be downloaded ({reason}); {_REMEDY}") from error


def _read(path: Path, root: Path | zipfile.Path, settings: CoreSettings) -> CoreBundle:
    hashes: dict[str, str] = {}
    if not (root / "core.yaml").is_file() and (root / "eval_bundle").is_dir():
        root = root / "eval_bundle"

    def read(name: str) -> str:
        file = root.joinpath(*name.split("/"))
        if not file.is_file():
            raise BadInput(f"{path}: holds no {name}; {_REMEDY}")
        content = file.read_bytes()
        hashes[name] = hashlib.sha256(content).hexdigest()
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadInput(f"{path}: {name} is not UTF-8 text ({error.reason}); {_REMEDY}") from error

    entries = _entries(path, read("core.yaml"), settings)
    baselines = _baselines(path, read("eval_meta_data.csv"), [entry["label"] for entry in entries])
    tasks = tuple(_task(path, entry, baselines[entry["label"]], read, settings) for entry in entries)
    return CoreBundle(tasks=tasks, sha256=sha256_json(hashes))


def _entries(path: Path, text: str, settings: CoreSettings) -> list[dict]:
    """The task list of core.yaml: exactly the tasks of config/core.yaml, each with what scoring needs."""
    try:
        content = parse_yaml(text)
    except YamlFault as error:
        raise BadInput(f"{path}: core.yaml is not valid YAML ({' '.join(str(error).split())}); {_REMEDY}") from error
    entries = content.get("icl_tasks") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BadInput(f"{path}: core.yaml needs icl_tasks, a list of tasks; {_REMEDY}")
    labels = [str(entry.get("label")) for entry in entries]
    faults = {
        "lacks": [name for name in settings.tasks if name not in labels],
        "also holds": sorted(set(labels) - set(settings.tasks)),
        "holds twice": sorted({name for name in labels if labels.count(name) > 1}),
    }
    for fault, names in faults.items():
        if names:
            raise BadInput(
                f"{path}: core.yaml {fault} {', '.join(names)}, and CORE is the mean of the {len(settings.tasks)} tasks"
                f" of config/core.yaml; {_REMEDY}"
            )
    for entry in entries:
        fault = _entry_fault(entry)
        if fault:
            raise BadInput(f"{path}: core.yaml, task {entry['label']}: {fault}; {_REMEDY}")
    return entries


def _entry_fault(entry: dict) -> str | None:
    shots = entry.get("num_fewshot")
    place = entry.get("dataset_uri")
    if not isinstance(place, str) or ".." in place.split("/"):
        return "dataset_uri must name a file below eval_data"
    if not isinstance(entry.get("icl_task_type"), str) or entry["icl_task_type"] not in FIELDS:
        return f"icl_task_type = {entry.get('icl_task_type')!r} must be one of {', '.join(FIELDS)}"
    if not (isinstance(shots, list) and len(shots) == 1 and type(shots[0]) is int and shots[0] >= 0):
        return f"num_fewshot = {shots!r} must be a list of one number"
    if not isinstance(entry.get("continuation_delimiter", ""), str):
        return f"continuation_delimiter = {entry['continuation_delimiter']!r} must be a text"
    return None


def _baselines(path: Path, text: str, names: Iterable[str]) -> dict[str, float]:
    """Random baseline of every task in percent; the table may hold more tasks than CORE does."""
    where = f"{path}: eval_meta_data.csv"
    rows = csv.DictReader(text.splitlines())
    for column in ("Eval Task", "Random baseline"):
        if column not in (rows.fieldnames or ()):
            raise BadInput(f"{where} lacks the column {column!r}; {_REMEDY}")
    found = {row["Eval Task"]: row["Random baseline"] for row in rows}
    baselines = {}
    for name in names:
        if name not in found:
            raise BadInput(f"{where} has no row for task {name}; {_REMEDY}")
        try:
            baselines[name] = float(found[name])
        except (TypeError, ValueError):
            baselines[name] = float("nan")
        if not 0 <= baselines[name] < 100:
            raise BadInput(f"{where}: task {name}: Random baseline = {found[name]!r} must be at least 0 and below 100")
    return baselines


def _task(path: Path, entry: dict, baseline: float, read: Callable[[str], str], settings: CoreSettings) -> CoreTask:
    name, kind, shots = entry["label"], entry["icl_task_type"], entry["num_fewshot"][0]
    file = f"eval_data/{entry['dataset_uri']}"
    where = f"{path}: task {name}: {file}"
    try:
        lines = read(file).split("\n")
    except BadInput as error:
        raise BadInput(f"task {name}: {error}") from error
    items = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{where}, line {number}: not valid JSON ({error}); {_REMEDY}") from error
        fault = _item_fault(kind, item)
        if fault:
            raise BadInput(f"{where}, line {number}: {fault}; {_REMEDY}")
        items.append(item)
    if len(items) <= shots:
        raise BadInput(f"{where}: {len(items)} examples are too few for {shots} shots beside a question; {_REMEDY}")
    return CoreTask(
        name=name, kind=kind, shots=shots, delimiter=entry.get("continuation_delimiter", settings.delimiter),
        baseline=baseline, items=tuple(items),
    )  # fmt: skip


def _item_fault(kind: str, item: object) -> str | None:
    texts, options = FIELDS[kind]
    if not isinstance(item, dict):
        return f"expected an object, found {type(item).__name__}"
    for key in texts:
        if not isinstance(item.get(key), str):
            return f"{key} must be a text"
    if options is None:
        return None if item["continuation"].strip() else "continuation is blank"
    listed, gold = item.get(options), item.get("gold")
    if not (isinstance(listed, list) and listed and all(isinstance(option, str) for option in listed)):
        return f"{options} must be a list of texts"
    if type(gold) is not int or not 0 <= gold < len(listed):
        return f"gold = {gold!r} must be the place of one of {len(listed)} {options}, from 0"
    return None
