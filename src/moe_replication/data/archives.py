"""CIFAR as its authors distribute it (pickled batches), read and verified through torchvision."""

from __future__ import annotations

import functools
from pathlib import Path
from types import ModuleType

import numpy as np

from moe_replication.data.images import Split
from moe_replication.errors import BadInput

# Set -> (folder inside the archive, a file in it, class of torchvision.datasets).
ARCHIVES = {
    "cifar10": ("cifar-10-batches-py", "data_batch_1", "CIFAR10"),
    "cifar100": ("cifar-100-python", "train", "CIFAR100"),
}


def find_archive(name: str, root: Path) -> Path | None:
    """The folder with the files of the set's unpacked archive: `root` itself or one in it; None for neither."""
    if name not in ARCHIVES:
        return None
    inner, file, _ = ARCHIVES[name]
    if (root / inner).is_dir():
        return root / inner
    return root if (root / file).is_file() else None


def read_archive(name: str, folder: Path) -> tuple[Split, Split]:
    """Training and test split; BadInput when a file is missing or its MD5 is not the published one."""
    datasets = import_torchvision().datasets
    published = getattr(datasets, ARCHIVES[name][2])
    sums = [*published.train_list, *published.test_list, (published.meta["filename"], published.meta["md5"])]
    for file, md5 in sums:
        if not datasets.utils.check_integrity(folder / file, md5):
            fault = "has another MD5 than the published one" if (folder / file).is_file() else "is missing"
            raise BadInput(
                f"data.roots.{name}: {folder} is incomplete or altered ({file} {fault}); "
                "unpack the published archive again"
            )
    # torchvision joins root and base_folder; with none, the folder may have any name.
    here = type(published.__name__, (published,), {"base_folder": ""})
    splits = [here(folder, train=train, download=False) for train in (True, False)]
    train, test = ((split.data, np.asarray(split.targets, dtype=np.int64)) for split in splits)
    return train, test


@functools.cache
def import_torchvision() -> ModuleType:
    """torchvision, also beside a torch without CUDA.

    The registry's build of torchvision links against CUDA; where its extension cannot load, two operators that
    the import insists on are declared and stay without an implementation.
    """
    import importlib.util

    import torch

    spec = importlib.util.find_spec("torchvision")
    try:
        torch.ops.load_library(Path(spec.origin).parent / "_C.so")
    except OSError:
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(library)
    import torchvision

    return torchvision


# A Library takes its operators away when it is collected.
_KEPT: list[object] = []
