"""Public image sets in the Hugging Face hub's parquet layout, from a local root or from the hub."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from rich.console import Console
from rich.progress import track

from moe_replication.data.archives import holds_archive, read_archive
from moe_replication.data.hub import load_from_hub, local_files, unreadable
from moe_replication.data.images import Split, write_image_set
from moe_replication.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class HubSet:
    """Where a set lives on the hub, `revision` being a commit, and how its tables are built.

    `side` is the images' edge in pixels.
    """

    repository: str
    revision: str
    configuration: str
    image: str
    label: str
    classes: int
    side: int
    test_split: str = "test"


# The commits are those that the tasks of mteb, the embedding benchmark, pin.
HUB_SETS = {
    "cifar10": HubSet(
        repository="uoft-cs/cifar10",
        revision="0b2714987fa478483af9968de7c934580d0bb9a2",
        configuration="plain_text",
        image="img",
        label="label",
        classes=10,
        side=32,
    ),
    "cifar100": HubSet(
        repository="uoft-cs/cifar100",
        revision="aadb3af77e9048adbea6b47c21a81e47dd092ae5",
        configuration="cifar100",
        image="img",
        label="fine_label",
        classes=100,
        side=32,
    ),
    "tiny-imagenet": HubSet(
        repository="zh-plus/tiny-imagenet",
        revision="5a77092c28e51558c5586e9c5eb71a7e17a5e43f",
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

    A root may hold the hub's parquet files, or CIFAR's original archive unpacked.

    Up to `max_corrupt` images of each split that cannot be decoded or have another size are left out.
    BadInput for a missing root, missing files or columns, no network, or more corrupt images. Returns the
    manifest.
    """
    spec = HUB_SETS[name]
    root = roots.get(name)
    if root is not None and holds_archive(name, Path(root)):
        train, test = read_archive(name, Path(root))
        return write_image_set(folder, name, train, test, classes=spec.classes, source="the authors' archive")
    splits = []
    for split in ("train", spec.test_split):
        table = _from_hub(name, spec, split) if root is None else _from_root(name, spec, Path(root), split)
        splits.append(_decode(f"{name} {split}", spec, table, max_corrupt))
    place = f"the hub at {spec.revision}" if root is None else "local parquet files"
    source = f"{spec.repository} ({spec.configuration}), {place}"
    return write_image_set(folder, name, splits[0], splits[1], classes=spec.classes, source=source)


def _from_root(name: str, spec: HubSet, root: Path, split: str) -> pa.Table:
    columns = (spec.image, spec.label)
    files = local_files(
        name,
        root,
        repository=spec.repository,
        folder=spec.configuration,
        pattern=f"{split}-*.parquet",
        columns=columns,
    )
    tables = []
    for file in files:
        try:
            tables.append(pq.read_table(file, columns=list(columns)))
        except (pa.ArrowException, OSError) as error:
            raise unreadable(file, error) from error
    return pa.concat_tables(tables)


def _from_hub(name: str, spec: HubSet, split: str) -> pa.Table:
    table = load_from_hub(
        name,
        repository=spec.repository,
        configuration=spec.configuration,
        revision=spec.revision,
        folder=spec.configuration,
        split=split,
    )
    import datasets

    return table.cast_column(spec.image, datasets.Image(decode=False)).with_format("arrow")[:]


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
