"""CIFAR as its authors distribute it (pickled batches), read and verified through torchvision."""

from __future__ import annotations

import functools
from pathlib import Path
from types import ModuleType

import numpy as np

from moe_replication.data.images import Split
from moe_replication.errors import BadInput

# Set -> (folder inside the archive, class of torchvision.datasets).
ARCHIVES = {"cifar10": ("cifar-10-batches-py", "CIFAR10"), "cifar100": ("cifar-100-python", "CIFAR100")}


def holds_archive(name: str, root: Path) -> bool:
    """Whether `root` holds the unpacked archive of the set."""
    return name in ARCHIVES and (root / ARCHIVES[name][0]).is_dir()


def read_archive(name: str, root: Path) -> tuple[Split, Split]:
    """Training and test split; BadInput when a file is missing or its MD5 is not the published one."""
    cls = getattr(import_torchvision().datasets, ARCHIVES[name][1])
    try:
        splits = [cls(root, train=train, download=False) for train in (True, False)]
    except RuntimeError as error:
        raise BadInput(
            f"data.roots.{name}: {root / ARCHIVES[name][0]} is incomplete or altered ({str(error).splitlines()[0]});"
            " unpack the published archive again"
        ) from error
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
