"""Image sets as files in class folders: torchvision's ImageFolder layout and TinyImageNet-200's own archive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moe_replication.data.image_decoding import first_names
from moe_replication.errors import BadInput

_SUFFIXES = {".jpeg", ".jpg", ".png"}
ANNOTATIONS = "val_annotations.txt"


@dataclass(frozen=True, kw_only=True)
class FileSplit:
    """Image files and their labels int64 [N], ordered by label and then by file name."""

    files: list[Path]
    labels: np.ndarray


@dataclass(frozen=True, kw_only=True)
class FolderSet:
    """`classes[label]` is the folder's name; labels count the sorted names.

    torchvision's ImageFolder numbers classes this way, and the hub's TinyImageNet was made by a loader that does;
    its viewer shows 0 = n01443537, the smallest identifier.
    """

    classes: tuple[str, ...]
    train: FileSplit
    test: FileSplit


def find_tree(root: Path, inner: str) -> Path | None:
    """`root` or root/`inner`, whichever holds train/CLASS/; None for neither."""
    for tree in (root, root / inner):
        if (tree / "train").is_dir() and _folders(tree / "train"):
            return tree
    return None


def list_images(key: str, tree: Path, *, classes: int, test: str) -> FolderSet:
    """Files and labels of tree/train and tree/`test`; BadInput for what is missing, unknown or ambiguous.

    Images of a class lie in its folder or in an images/ folder below it. In TinyImageNet's archive those of the
    test split lie in one folder, and val_annotations.txt says the class of each. `key` is the setting that
    names the copy.
    """
    names, listed_in = _class_names(key, tree, classes)
    train = _by_folder(key, tree / "train", names, listed_in)
    folder = tree / test
    present = set(_folders(folder)) if folder.is_dir() else set()
    if present & set(names):
        left = _images(folder / "images") if "images" in present else []
        if left:
            raise BadInput(
                f"{folder / 'images'}: still holds {len(left)} images beside class folders "
                f"({first_names(file.name for file in left)}); move them too, or unpack the archive again"
            )
        return FolderSet(classes=names, train=train, test=_by_folder(key, folder, names, listed_in))
    if "images" in present:
        return FolderSet(classes=names, train=train, test=_by_annotations(key, folder, names))
    found = first_names(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else "no such folder"
    raise BadInput(
        f"{key}: {folder} must hold a folder for each class, or images/ and {ANNOTATIONS}; found {found or 'nothing'}; "
        f"set {key} to one complete copy"
    )


def _class_names(key: str, tree: Path, classes: int) -> tuple[tuple[str, ...], str]:
    """Sorted class names and where they stand: wnids.txt or, where there is none, the folders of train/."""
    path = tree / "wnids.txt"
    if not path.is_file():
        names, where = _folders(tree / "train"), f"{tree / 'train'}"
    else:
        lines = [(number, line.strip()) for number, line in enumerate(_lines(path), 1) if line.strip()]
        names, where = [name for _, name in lines], f"{path}"
        for index, (number, name) in enumerate(lines):
            if name in names[:index]:
                raise BadInput(f"{path} line {number}: {name} stands there twice; unpack the archive again")
    if len(names) != classes:
        raise BadInput(
            f"{key}: {where} names {len(names)} classes ({first_names(names)}), expected {classes}; "
            f"set {key} to one complete copy"
        )
    return tuple(sorted(names)), where


def _by_folder(key: str, folder: Path, names: tuple[str, ...], listed_in: str) -> FileSplit:
    """Images of one folder for each class."""
    present = _folders(folder)
    missing = [name for name in names if name not in present]
    if missing:
        raise BadInput(
            f"{key}: {folder} lacks a folder for {len(missing)} of the {len(names)} classes in {listed_in} "
            f"({first_names(missing)}); set {key} to one complete copy"
        )
    unknown = [name for name in present if name not in names and name != "images"]
    if unknown:
        raise BadInput(
            f"{key}: {folder} holds folders of unknown classes ({first_names(unknown)}), not in {listed_in}; "
            "remove them or unpack the archive again"
        )
    files, labels = [], []
    for label, name in enumerate(names):
        inner = folder / name / "images"
        members = _images(inner if inner.is_dir() else folder / name)
        if not members:
            raise BadInput(
                f"{key}: {folder / name} holds no image ({', '.join(sorted(_SUFFIXES))}); "
                f"set {key} to one complete copy"
            )
        files += members
        labels += [label] * len(members)
    return FileSplit(files=files, labels=np.asarray(labels, np.int64))


def _by_annotations(key: str, folder: Path, names: tuple[str, ...]) -> FileSplit:
    """Images of folder/images by the lines of val_annotations.txt."""
    path = folder / ANNOTATIONS
    if not path.is_file():
        raise BadInput(f"{path}: no such file, and {folder / 'images'} cannot be labelled; unpack the archive again")
    files = {file.name: file for file in _images(folder / "images")}
    labels = _annotated(path, names, files)
    unlabelled = sorted(files.keys() - labels.keys())
    if unlabelled:
        raise BadInput(
            f"{path}: no line for {len(unlabelled)} of {len(files)} files in {folder / 'images'} "
            f"({first_names(unlabelled)}); unpack the archive again"
        )
    used = set(labels.values())
    empty = [name for label, name in enumerate(names) if label not in used]
    if empty:
        raise BadInput(
            f"{path}: no image of {len(empty)} of {len(names)} classes ({first_names(empty)}); "
            f"set {key} to one complete copy"
        )
    ordered = sorted(labels, key=lambda name: (labels[name], name))
    return FileSplit(
        files=[files[name] for name in ordered], labels=np.asarray([labels[name] for name in ordered], np.int64)
    )


def _annotated(path: Path, names: tuple[str, ...], files: dict[str, Path]) -> dict[str, int]:
    """File name -> label from lines of file, class and box, split by tabs."""
    label_of = {name: label for label, name in enumerate(names)}
    labels: dict[str, int] = {}
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        name, wnid, *_ = (*line.split("\t"), "")
        if not wnid.strip():
            raise BadInput(f"{where}: {line!r} is not FILE, CLASS and box split by tabs; unpack the archive again")
        if wnid.strip() not in label_of:
            raise BadInput(f"{where}: unknown class {wnid!r} of {name}; unpack wnids.txt and {path.name} again")
        if name in labels:
            raise BadInput(f"{where}: {name} stands there twice; unpack the archive again")
        if name not in files:
            raise BadInput(f"{where}: {path.parent / 'images' / name} is missing; unpack the archive again")
        labels[name] = label_of[wnid.strip()]
    return labels


def _folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _images(folder: Path) -> list[Path]:
    """Image files by name; hidden ones, which archives made on a Mac hold, do not count."""
    return sorted(
        path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")
    )


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not a text file ({error.reason}); unpack the archive again") from error
