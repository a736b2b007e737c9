"""Public image sets in the Hugging Face hub's parquet layout, from a local root or from the hub."""

from __future__ import annotations

import io
import os
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from rich.console import Console
from rich.progress import track

from moe_replication.data.images import Split, write_image_set
from moe_replication.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class HubSet:
    """Where a set lives on the hub and how its tables are built; `side` is the images' edge in pixels."""

    repository: str
    configuration: str
    image: str
    label: str
    classes: int
    side: int
    test_split: str = "test"


HUB_SETS = {
    "cifar10": HubSet(
        repository="uoft-cs/cifar10",
        configuration="plain_text",
        image="img",
        label="label",
        classes=10,
        side=32,
    ),
    "cifar100": HubSet(
        repository="uoft-cs/cifar100",
        configuration="cifar100",
        image="img",
        label="fine_label",
        classes=100,
        side=32,
    ),
    "tiny-imagenet": HubSet(
        repository="zh-plus/tiny-imagenet",
        configuration="default",
        image="image",
        label="label",
        classes=200,
        side=64,
        test_split="valid",
    ),
}


def make_hub_set(
    folder: Path | str, name: str, roots: Mapping[str, str | Path | None], *, max_corrupt: int = 0
) -> dict:
    """Write a set of HUB_SETS as arrays, from roots[name] or, when that is None, from the hub.

    Up to `max_corrupt` images of each split that cannot be decoded or have another size are left out.
    BadInput for a missing root, missing files or columns, no network, or more corrupt images. Returns the
    manifest.
    """
    spec = HUB_SETS[name]
    root = roots.get(name)
    splits = []
    for split in ("train", spec.test_split):
        table = _from_hub(name, spec, split) if root is None else _from_root(name, spec, Path(root), split)
        splits.append(_decode(f"{name} {split}", spec, table, max_corrupt))
    source = f"{spec.repository} ({spec.configuration}), " + (
        "the hub" if root is None else "local parquet files"
    )
    return write_image_set(folder, name, splits[0], splits[1], classes=spec.classes, source=source)


def _from_root(name: str, spec: HubSet, root: Path, split: str) -> pa.Table:
    key = f"data.roots.{name}"
    if not root.is_dir():
        raise BadInput(
            f"{key}: {root} is no folder; set {key} to one that holds {spec.configuration}/*.parquet, "
            f"or to null for the hub"
        )
    files = sorted(root.glob(f"**/{split}-*.parquet"))
    if not files:
        raise BadInput(
            f"{key}: {root} holds no {split}-*.parquet; "
            f"set {key} to a folder in the layout of {spec.repository}"
        )
    stated = re.search(r"-of-(\d+)", files[0].name)
    if stated and int(stated[1]) != len(files):
        raise BadInput(
            f"{key}: {root} holds {len(files)} of {int(stated[1])} {split} files; complete the copy"
        )
    tables = []
    for file in files:
        try:
            names = pq.read_schema(file).names
            missing = [column for column in (spec.image, spec.label) if column not in names]
            if missing:
                raise BadInput(
                    f"{file}: lacks column {missing[0]!r}, has {names}; "
                    f"set {key} to a copy of {spec.repository}"
                )
            tables.append(pq.read_table(file, columns=[spec.image, spec.label]))
        except (pa.ArrowException, OSError) as error:
            raise BadInput(f"{file}: not a readable parquet file ({_line(error)}); replace it") from error
    return pa.concat_tables(tables)


def _from_hub(name: str, spec: HubSet, split: str) -> pa.Table:
    key = f"data.roots.{name}"
    remedy = f"set {key} to a local folder that holds {spec.configuration}/*.parquet"
    if os.environ.get("HF_HUB_OFFLINE", "").upper() not in {"1", "ON", "YES", "TRUE"}:
        _probe_hub(key, remedy)
    import datasets

    try:
        table = datasets.load_dataset(spec.repository, spec.configuration, split=split)
    # The hub client raises types of several HTTP libraries.
    except Exception as error:
        raise BadInput(
            f"{key}: null, and {spec.repository} does not load ({_line(error)}); {remedy}"
        ) from error
    return table.cast_column(spec.image, datasets.Image(decode=False)).with_format("arrow")[:]


def _probe_hub(key: str, remedy: str) -> None:
    """Fail in seconds where the hub client would retry for half a minute."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        urllib.request.urlopen(endpoint, timeout=5).close()
    except urllib.error.HTTPError:
        return
    except (OSError, ValueError) as error:
        raise BadInput(f"{key}: null, and {endpoint} cannot be reached ({_line(error)}); {remedy}") from error


def _decode(label: str, spec: HubSet, table: pa.Table, max_corrupt: int) -> Split:
    column = table.column(spec.image).combine_chunks()
    if not (pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0):
        raise BadInput(
            f"{label}: column {spec.image!r} is {column.type}, expected a struct with bytes; replace the copy"
        )
    targets = table.column(spec.label)
    if targets.null_count or not pa.types.is_integer(targets.type):
        raise BadInput(f"{label}: column {spec.label!r} must be whole numbers without gaps; replace the copy")
    images, kept, corrupt = [], [], []
    console = Console()
    encoded = column.field("bytes")
    for row in track(
        range(len(encoded)),
        f"decode {label}",
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ):
        pixels = _pixels(encoded[row].as_py(), spec.side)
        if pixels is None:
            corrupt.append(row)
        else:
            images.append(pixels)
            kept.append(row)
    if len(corrupt) > max_corrupt:
        raise BadInput(
            f"{label}: {len(corrupt)} of {len(encoded)} images cannot be decoded to {spec.side}x{spec.side} "
            f"(the first is row {corrupt[0]}), at most {max_corrupt} are allowed; replace the copy"
        )
    if not images:
        raise BadInput(f"{label}: holds no image; replace the copy")
    return np.stack(images), targets.to_numpy().astype(np.int64)[kept]


def _pixels(content: bytes | None, side: int) -> np.ndarray | None:
    """uint8 [side, side, 3], or None for bytes that are no such image."""
    try:
        with Image.open(io.BytesIO(content or b"")) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError):
        return None
    return pixels if pixels.shape == (side, side, 3) else None


def _line(error: Exception) -> str:
    """The error's text on one line."""
    return " ".join(str(error).split())[:200]
