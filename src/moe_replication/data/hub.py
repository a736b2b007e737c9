"""Public sets in the Hugging Face hub's parquet layout: files of a local copy, or the hub itself."""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from moe_replication.data.hub_hashes import check_published_hashes
from moe_replication.errors import BadInput

if TYPE_CHECKING:
    import datasets


def local_files(
    name: str, root: Path, *, repository: str, folder: str, pattern: str, columns: tuple[str, ...]
) -> list[Path]:
    """Sorted parquet files below root/`folder` (below the root where that is no folder) that match `pattern`.

    BadInput for a missing root, no or too few files, a file that cannot be read, lacks one of `columns` or has another
    type of one than the first file.
    """
    key = f"data.roots.{name}"
    if not root.is_dir():
        raise BadInput(
            f"{key}: {root} is no folder; set {key} to one that holds {folder}/*.parquet, or to null for the hub"
        )
    inner = root / folder
    files = sorted((inner if inner.is_dir() else root).glob(f"**/{pattern}"))
    if not files:
        raise BadInput(f"{key}: {root} holds no {pattern}; set {key} to a folder in the layout of {repository}")
    stated = re.search(r"-of-(\d+)", files[0].name)
    if stated and int(stated[1]) != len(files):
        raise BadInput(
            f"{key}: {root} holds {len(files)} of {int(stated[1])} files {pattern}; set {key} to one complete copy"
        )
    schemas = [_schema(file) for file in files]
    for file, schema in zip(files, schemas, strict=True):
        missing = [column for column in columns if column not in schema.names]
        if missing:
            raise BadInput(
                f"{file}: lacks column {missing[0]!r}, has {schema.names}; set {key} to a copy of {repository}"
            )
        for column in columns:
            kind, first = schema.field(column).type, schemas[0].field(column).type
            if kind != first:
                raise BadInput(
                    f"{file}: column {column!r} is {kind}, in {files[0].name} it is {first}; files of a set have one"
                    f" type, set {key} to one copy of {repository}"
                )
    return files


def check_text(key: str, file: Path, columns: tuple[str, ...], repository: str) -> None:
    """BadInput unless `columns` of a parquet file hold text."""
    schema = _schema(file)
    for column in columns:
        kind = schema.field(column).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise BadInput(f"{file}: column {column!r} is {kind}, it must be text; set {key} to a copy of {repository}")


def _schema(file: Path) -> pa.Schema:
    try:
        return pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(file, error) from error


def load_from_hub(
    name: str, *, repository: str, configuration: str, revision: str, folder: str, split: str, **options: object
) -> datasets.Dataset | datasets.IterableDataset:
    """`datasets.load_dataset` at a commit, whole files against their published hashes.

    Its failure, a missing network first, is a BadInput with the remedy.
    """
    key = f"data.roots.{name}"
    remedy = root_remedy(name, folder)
    online = os.environ.get("HF_HUB_OFFLINE", "").upper() not in {"1", "ON", "YES", "TRUE"}
    if online:
        _probe_hub(key, remedy)
    import datasets

    try:
        # A stream reads parts of files, of which no hash is published; offline the hub cannot be asked.
        if online and not options.get("streaming"):
            check_published_hashes(key, repository, revision, folder, split)
        return datasets.load_dataset(repository, configuration, revision=revision, split=split, **options)
    except BadInput:
        raise
    # The hub client raises types of several HTTP libraries.
    except Exception as error:
        raise BadInput(f"{key}: null, and {repository} does not load ({one_line(error)}); {remedy}") from error


def root_remedy(name: str, folder: str) -> str:
    """What to set where the hub cannot be read."""
    return f"set data.roots.{name} to a local folder that holds {folder}/*.parquet"


def unreadable(file: Path, error: Exception) -> BadInput:
    """The error for a damaged parquet file."""
    return BadInput(f"{file}: not a readable parquet file ({one_line(error)}); replace it")


def one_line(error: Exception) -> str:
    """The error's text on one line."""
    return " ".join(str(error).split())[:200]


def _probe_hub(key: str, remedy: str) -> None:
    """Fail in seconds where the hub client would retry for half a minute."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        urllib.request.urlopen(endpoint, timeout=5).close()
    except urllib.error.HTTPError:
        return
    except (OSError, ValueError) as error:
        raise BadInput(f"{key}: null, and {endpoint} cannot be reached ({one_line(error)}); {remedy}") from error
