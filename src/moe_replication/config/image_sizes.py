"""Whether a run's part of an image set and its pooling fit the set, known before it is prepared."""

from __future__ import annotations

import functools
from pathlib import Path

from moe_replication.config.overlays import read_layer, values
from moe_replication.config.run import RunConfig
from moe_replication.config.schema import read_yaml
from moe_replication.errors import BadInput

SIZES_FILE = "config/planning.yaml"


def check_image_sizes(root: Path, config: RunConfig, source: str) -> None:
    """BadInput where data.train_images, data.test_images or data.pooling do not fit the set's published size."""
    data = config.data
    size = _sizes(root).get(data.set) if config.task == "vision" else None
    if size is None:
        return
    for split in ("train", "test"):
        wanted = getattr(data, f"{split}_images")
        if wanted is not None and wanted > size[split]:
            raise BadInput(
                f"{source}: data.{split}_images = {wanted}: {data.set} has {size[split]} in this split;"
                " lower it, or null for all"
            )
    if size["height"] % data.pooling or size["width"] % data.pooling:
        raise BadInput(
            f"{source}: data.pooling = {data.pooling} must divide height and width of {data.set},"
            f" {size['height']} x {size['width']} pixels; choose another, or 1"
        )


@functools.cache
def _sizes(root: Path) -> dict[str, dict]:
    return values(read_layer(read_yaml(root / SIZES_FILE), "")).get("images", {})
