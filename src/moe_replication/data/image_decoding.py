"""Encoded images of one split to one array; those that cannot be decoded are counted and named."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from moe_replication.errors import BadInput

_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Images uint8 [N, side, side, 3], labels int64 [N], and the names of the images left out."""

    images: np.ndarray
    labels: np.ndarray
    dropped: tuple[str, ...] = ()


def decode_images(
    split: str,
    encoded: Iterable[tuple[str, Path | bytes | None]],
    labels: np.ndarray,
    *,
    side: int,
    max_corrupt: int,
) -> Decoded:
    """Decode `encoded`, pairs of a name and a file or its content in the order of `labels`, to RGB.

    Up to `max_corrupt` images that cannot be decoded or are not side x side are left out; BadInput for more, or
    when none is left.
    """
    # The only copy of the pixels: a list of images stacked at the end would take twice the memory.
    images = np.empty((len(labels), side, side, 3), np.uint8)
    kept, dropped = [], []
    console = Console()
    for row, (name, content) in enumerate(
        track(
            encoded,
            f"decode {split}",
            total=len(labels),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
    ):
        pixels = _pixels(content, side)
        if pixels is None:
            dropped.append(name)
        else:
            images[len(kept)] = pixels
            kept.append(row)
    if len(dropped) > max_corrupt:
        raise BadInput(
            f"{split}: {len(dropped)} of {len(labels)} images cannot be decoded to {side}x{side} "
            f"({first_names(dropped)}), at most data.max_corrupt_images = {max_corrupt} are allowed; "
            "replace the copy or raise data.max_corrupt_images"
        )
    if not kept:
        raise BadInput(f"{split}: holds no image; replace the copy")
    return Decoded(images=images[: len(kept)], labels=labels[kept].astype(np.int64), dropped=tuple(dropped))


def first_names(names: Iterable[str]) -> str:
    """The first names of a list, with how many more there are."""
    names = list(names)
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _pixels(content: Path | bytes | None, side: int) -> np.ndarray | None:
    """uint8 [side, side, 3], grey levels on all three channels, or None for what is no such image."""
    try:
        with Image.open(content if isinstance(content, Path) else io.BytesIO(content or b"")) as image:
            return np.asarray(image.convert("RGB")) if image.size == (side, side) else None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
