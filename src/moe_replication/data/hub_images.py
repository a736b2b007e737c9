"""Public image sets from the Hugging Face hub or from a local copy in one of the layouts they are found in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from moe_replication.data.archives import ARCHIVES, find_archive, read_archive
from moe_replication.data.hub import load_from_hub, local_files, unreadable
from moe_replication.data.image_decoding import Decoded, decode_images, first_names
from moe_replication.data.image_folders import FileSplit, find_tree, list_images
from moe_replication.data.images import write_image_set
from moe_replication.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class HubSet:
    """Where a set lives on the hub, `revision` being a commit, and how its tables are built.

    `side` is the images' edge in pixels, `sizes` the published numbers of training and test images. `tree` and
    `test_folder` are names in the layout of class folders: tree/train/CLASS and tree/test_folder.
    """

    repository: str
    revision: str
    configuration: str
    image: str
    label: str
    classes: int
    side: int
    sizes: tuple[int, int]
    tree: str
    test_split: str = "test"
    test_folder: str = "test"


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
        sizes=(50_000, 10_000),
        tree="cifar10",
    ),
    "cifar100": HubSet(
        repository="uoft-cs/cifar100",
        revision="aadb3af77e9048adbea6b47c21a81e47dd092ae5",
        configuration="cifar100",
        image="img",
        label="fine_label",
        classes=100,
        side=32,
        sizes=(50_000, 10_000),
        tree="cifar100",
    ),
    "tiny-imagenet": HubSet(
        repository="zh-plus/tiny-imagenet",
        revision="5a77092c28e51558c5586e9c5eb71a7e17a5e43f",
        configuration="default",
        image="image",
        label="label",
        classes=200,
        side=64,
        sizes=(100_000, 10_000),
        tree="tiny-imagenet-200",
        test_split="valid",
        test_folder="val",
    ),
}


def make_hub_set(
    folder: Path | str, name: str, roots: Mapping[str, str | Path | None], *, max_corrupt: int = 0
) -> dict:
    """Write a set of HUB_SETS as arrays, from roots[name] or, when that is None, from the hub.

    A root may hold CIFAR's original archive unpacked, images in class folders, or the hub's parquet files.

    Up to `max_corrupt` images of each split that cannot be decoded or have another size are left out; the manifest
    names them. BadInput for a missing root, an unknown or incomplete layout, no network, or more corrupt images.
    Returns the manifest.
    """
    spec = HUB_SETS[name]
    root = None if roots.get(name) is None else Path(roots[name])
    facts: dict[str, object] = {}
    if root is not None and (archive := find_archive(name, root)) is not None:
        train, test = (Decoded(images=images, labels=labels) for images, labels in read_archive(name, archive))
        source = "the authors' archive"
    elif root is not None and (tree := find_tree(root, spec.tree)) is not None:
        listed = list_images(f"data.roots.{name}", tree, classes=spec.classes, test=spec.test_folder)
        facts["class_names"] = list(listed.classes)
        train = _decode_files(f"{name} train", spec, tree, listed.train, max_corrupt)
        test = _decode_files(f"{name} {spec.test_folder}", spec, tree, listed.test, max_corrupt)
        source = "class folders"
    else:
        train = _decode_table(f"{name} train", spec, _table(name, spec, root, "train"), max_corrupt)
        held_out = _table(name, spec, root, spec.test_split)
        test = _decode_table(f"{name} {spec.test_split}", spec, held_out, max_corrupt)
        place = f"the hub at {spec.revision}" if root is None else "local parquet files"
        source = f"{spec.repository} ({spec.configuration}), {place}"
    for split, part, size in zip(("train", "test"), (train, test), spec.sizes, strict=True):
        found = len(part.images) + len(part.dropped)
        if found < size:
            raise BadInput(
                f"data.roots.{name}: the {split} split has {found:,} of {size:,} images; the copy is incomplete,"
                " unpack or download it again"
            )
    facts["dropped"] = {
        split: {"count": len(part.dropped), "names": list(part.dropped)}
        for split, part in (("train", train), ("test", test))
    }
    return write_image_set(
        folder,
        name,
        (train.images, train.labels),
        (test.images, test.labels),
        classes=spec.classes,
        source=source,
        facts=facts,
    )


def _table(name: str, spec: HubSet, root: Path | None, split: str) -> pa.Table:
    if root is None:
        return _from_hub(name, spec, split)
    if root.is_dir() and next(root.rglob("*.parquet"), None) is None:
        raise _unknown_layout(name, spec, root)
    return _from_root(name, spec, root, split)


def _unknown_layout(name: str, spec: HubSet, root: Path) -> BadInput:
    """What was looked for, what is there, and what to do."""
    key = f"data.roots.{name}"
    wanted = [
        f"parquet files ({spec.configuration}/train-*.parquet, {spec.test_split}-*.parquet)",
        f"class folders (train/CLASS/, {spec.test_folder}/; or in {spec.tree}/)",
    ]
    if name in ARCHIVES:
        wanted.append(f"the unpacked archive ({ARCHIVES[name][0]}/)")
    found = sorted(path.name for path in root.iterdir())
    packed = [file for file in found if file.endswith((".zip", ".tgz", ".tar", ".tar.gz"))]
    remedy = f"unpack {packed[0]}, or set {key}" if packed else f"set {key}"
    return BadInput(
        f"{key}: {root} holds none of the layouts of {name}: looked for {' or '.join(wanted)}; "
        f"found {first_names(found) or 'nothing'}; {remedy} to a folder that holds one of them"
    )


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


def _decode_table(label: str, spec: HubSet, table: pa.Table, max_corrupt: int) -> Decoded:
    column = table.column(spec.image)
    place = column.type.get_field_index("bytes") if pa.types.is_struct(column.type) else -1
    kind = column.type.field(place).type if place >= 0 else None
    if kind is None or not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_null(kind)):
        raise BadInput(
            f"{label}: column {spec.image!r} is {column.type}, expected a struct with bytes; replace the copy"
        )
    targets = table.column(spec.label)
    if targets.null_count or not pa.types.is_integer(targets.type):
        raise BadInput(f"{label}: column {spec.label!r} must be whole numbers without gaps; replace the copy")
    rows = _rows(column)
    return decode_images(label, rows, targets.to_numpy(), side=spec.side, max_corrupt=max_corrupt)


def _rows(column: pa.ChunkedArray) -> Iterator[tuple[str, bytes | None]]:
    row = 0
    for chunk in column.chunks:
        for content in chunk.field("bytes"):
            yield f"row {row}", content.as_py()
            row += 1


def _decode_files(label: str, spec: HubSet, tree: Path, split: FileSplit, max_corrupt: int) -> Decoded:
    files = ((file.relative_to(tree).as_posix(), file) for file in split.files)
    return decode_images(label, files, split.labels, side=spec.side, max_corrupt=max_corrupt)
