"""On PYTHONPATH: Python as it is where the extras `train` and `tracking` are not installed."""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder

HIDDEN = ("torch", "torchvision", "deepspeed", "datasets", "safetensors", "tokenizers", "mlflow")


class Hide(PathFinder):
    """Finds all but these packages."""

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        """None for a hidden package, as for one that is not there."""
        return None if fullname.partition(".")[0] in HIDDEN else super().find_spec(fullname, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = Hide
