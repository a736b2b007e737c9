"""Image sets as plain arrays with a manifest, and the makers of those that need no download."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moe_replication.data.manifest import check_file, file_entry, is_count
from moe_replication.errors import BadInput
from moe_replication.files import atomic_path, read_json, sha256_json, write_json

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
_TEST_SHARE = 0.2
_DIGITS_SOURCE = "scikit-learn's digits (UCI optical recognition of handwritten digits, 1,797 of 8x8)"

# Images uint8 [N, H, W, C] and labels int64 [N].
Split = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Memory-mapped images uint8 [N, H, W, C], labels int64 [N]; mean and std per channel of pixel / 255."""

    name: str
    classes: int
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    sha256: str

    @classmethod
    def open(cls, folder: Path | str, *, verify: bool = False) -> ImageSet:
        """Check manifest, sizes and shapes, with `verify` also hashes; BadInput names the wrong file."""
        folder = Path(folder)
        path = folder / "manifest.json"
        manifest = read_json(path)
        for key in ("name", "classes", "files", "shapes", "mean", "std"):
            if key not in manifest:
                raise BadInput(f"{path}: lacks {key!r}; delete {folder} and prepare it again")
        fault = _manifest_fault(manifest)
        if fault:
            raise BadInput(f"{path}: {fault}; delete {folder} and prepare it again")
        for array in ARRAYS:
            check_file(folder, manifest["files"][array], verify=verify)
        arrays = {array: _load(folder / f"{array}.npy", manifest["shapes"][array]) for array in ARRAYS}
        for split in ("train", "test"):
            path, images = folder / f"{split}_labels.npy", arrays[f"{split}_images"]
            _check_labels(path, arrays[f"{split}_labels"], len(images), manifest["classes"])
        return cls(
            name=manifest["name"],
            classes=manifest["classes"],
            mean=np.asarray(manifest["mean"]),
            std=np.asarray(manifest["std"]),
            sha256=sha256_json(manifest),
            **arrays,
        )


def write_image_set(
    folder: Path | str,
    name: str,
    train: Split,
    test: Split,
    *,
    classes: int,
    source: str,
    facts: Mapping[str, object] | None = None,
) -> dict:
    """Write the arrays and manifest.json, which also holds `facts` and is returned.

    BadInput for labels outside 0..classes-1.
    """
    folder = Path(folder)
    (folder / "manifest.json").unlink(missing_ok=True)
    for split, (_, labels) in (("train", train), ("test", test)):
        if not labels.size or labels.min() < 0 or labels.max() >= classes:
            raise BadInput(f"{name}: the {split} split needs labels in 0..{classes - 1}; check the source {source}")
    arrays = dict(zip(ARRAYS, (*train, *test), strict=True))
    files = {}
    for array, values in arrays.items():
        path = folder / f"{array}.npy"
        with atomic_path(path) as temporary, open(temporary, "wb") as handle:
            np.save(
                handle,
                values.astype(np.uint8 if array.endswith("images") else np.int64, copy=False),
                allow_pickle=False,
            )
        files[array] = file_entry(path)
    mean, std = channel_moments(train[0])
    manifest = {
        **(facts or {}),
        "format": 1,
        "name": name,
        "classes": classes,
        "counts": {"train": len(train[1]), "test": len(test[1])},
        "shapes": {array: list(values.shape) for array, values in arrays.items()},
        "files": files,
        "mean": mean.tolist(),
        "std": std.tolist(),
        "source": source,
    }
    write_json(folder / "manifest.json", manifest)
    return manifest


def channel_moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population deviation per channel of pixel / 255, float64 [C], from uint8 [N, H, W, C]."""
    levels = np.arange(256) / 255
    # A histogram is exact and spares a float64 copy of all images; bincount copies what it counts, so part by part.
    counts = np.zeros((images.shape[-1], 256), np.int64)
    for first in range(0, len(images), 1000):
        part = images[first : first + 1000]
        counts += np.stack([np.bincount(part[..., c].ravel(), minlength=256) for c in range(images.shape[-1])])
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ levels
    return mean, np.sqrt((share * (levels - mean[:, None]) ** 2).sum(axis=1))


def make_digits(folder: Path | str, seed: int = 0) -> dict:
    """`digits-10`: 8x8 grey digits, 10 classes, a stratified 80/20 split drawn from `seed`."""
    train, test = split_digits(seed)
    return write_image_set(
        folder, "digits-10", train, test, classes=10, source=f"{_DIGITS_SOURCE}, split 80/20 with seed {seed}"
    )


def make_digit_pairs(folder: Path | str, *, rotations: bool, train_count: int, test_count: int, seed: int = 0) -> dict:
    """`digits-100`: digits a, b side by side (8x16), class 10 a + b; or `digits-200`: + 100 when turned.

    Pairs are drawn within each split of digits-10, so no test digit is trained on. digits-200 is hard on
    purpose: turned by 180 degrees 0, 1 and 8 look like themselves and 6 like 9, so a turned "08" reads as an
    upright "80" and a turned "69" as itself; such classes cannot be told apart fully.
    """
    name = "digits-200" if rotations else "digits-100"
    train, test = split_digits(seed)
    return write_image_set(
        folder,
        name,
        _pairs(train, rotations, train_count, np.random.default_rng([seed, 1])),
        _pairs(test, rotations, test_count, np.random.default_rng([seed, 2])),
        classes=200 if rotations else 100,
        source=f"pairs of {_DIGITS_SOURCE}, drawn within each split with seed {seed}",
    )


def split_digits(seed: int) -> tuple[Split, Split]:
    """(train, test) of the 8x8 digits, levels 0..16 spread over 0..255; a fifth of each class is test."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = digits.target.astype(np.int64)
    generator = np.random.default_rng([seed, 0])
    is_test = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        members = np.flatnonzero(labels == label)
        is_test[generator.permutation(members)[: round(_TEST_SHARE * len(members))]] = True
    return (images[~is_test], labels[~is_test]), (images[is_test], labels[is_test])


def _pairs(split: Split, rotations: bool, count: int, generator: np.random.Generator) -> Split:
    """`count` pairs spread evenly over the classes, no pair of source digits twice within a class."""
    images, labels = split
    classes = 200 if rotations else 100
    members = [np.flatnonzero(labels == label) for label in range(10)]
    pair_labels = np.arange(count) % classes
    pairs = np.empty((count, 8, 16, 1), np.uint8)
    for label in range(classes):
        left, right = members[label % 100 // 10], members[label % 10]
        rows = np.flatnonzero(pair_labels == label)
        if len(rows) > len(left) * len(right):
            raise BadInput(
                f"digit pairs: {count} are more than the source holds for class {label}; "
                f"ask for at most {len(left) * len(right) * classes}"
            )
        chosen = generator.choice(len(left) * len(right), size=len(rows), replace=False)
        drawn = np.concatenate([images[left[chosen // len(right)]], images[right[chosen % len(right)]]], axis=2)
        pairs[rows] = drawn[:, ::-1, ::-1] if label >= 100 else drawn
    return pairs, pair_labels


def _manifest_fault(manifest: dict) -> str | None:
    """What of the manifest cannot be right, None for nothing; files are compared with it later."""
    classes, files, shapes = manifest["classes"], manifest["files"], manifest["shapes"]
    if not isinstance(manifest["name"], str) or not is_count(classes, least=2):
        return f"name = {manifest['name']!r}, classes = {classes!r}: expected text and a number of at least 2"
    if not isinstance(files, dict) or not isinstance(shapes, dict):
        return "files and shapes must be mappings"
    for array in ARRAYS:
        entry, shape = files.get(array), shapes.get(array)
        if not isinstance(entry, dict) or entry.get("file") != f"{array}.npy":
            return f"lists no {array}.npy"
        axes = 4 if array.endswith("images") else 1
        if not isinstance(shape, list) or len(shape) != axes or not all(is_count(size, least=1) for size in shape):
            return f"shapes.{array} = {shape!r} must be {axes} sizes of at least 1"
    for name in ("mean", "std"):
        if not _are_levels(manifest[name]) or len(manifest[name]) != shapes["train_images"][3]:
            return f"{name} = {manifest[name]!r} must be one number for each channel, from 0 to 1"
    return None


def _are_levels(values: object) -> bool:
    return isinstance(values, list) and all(type(value) in (int, float) and 0 <= value <= 1 for value in values)


def _check_labels(path: Path, labels: np.ndarray, images: int, classes: int) -> None:
    if len(labels) != images:
        raise BadInput(f"{path}: {len(labels)} labels of {images} images; delete {path.parent} and prepare it again")
    if labels.min() < 0 or labels.max() >= classes:
        raise BadInput(f"{path}: labels outside 0..{classes - 1}; delete {path.parent} and prepare it again")


def _load(path: Path, shape: list[int]) -> np.ndarray:
    try:
        # Unlike np.load this opens no zip file and no pickle, whatever the file begins with.
        values = np.lib.format.open_memmap(path, mode="r")
    # A damaged header is parsed as Python, and surfaces as the errors of its parsers.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"{path}: not a .npy array ({reason}); delete {path.parent} and prepare it again") from error
    expected = np.uint8 if path.stem.endswith("images") else np.int64
    if values.dtype != expected or list(values.shape) != shape:
        raise BadInput(
            f"{path}: {values.dtype} {list(values.shape)}, expected {expected.__name__} {shape}; "
            f"delete {path.parent} and prepare it again"
        )
    return values
