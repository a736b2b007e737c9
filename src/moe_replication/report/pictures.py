"""Figures inside a page: small enough that the page opens where it is embedded itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from moe_replication.errors import BadInput

# Chromium opens no data: address of more than 2 MiB in a frame, and Snakemake's report shows pages that way. In base64
# the page may have three quarters of it, the pictures in it, in base64 too, three quarters of that, less the text.
PAGE_BYTES = 1_500_000
PICTURE_BYTES = 850_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """How pictures are stored: at most so many pixels wide, with or without loss."""

    width: int
    lossless: bool


# From the figures' own size down; the last one is taken where none is small enough.
FORMS = tuple(
    Form(width=width, lossless=lossless)
    for width, lossless in ((1400, True), (1400, False), (1100, False), (900, False), (700, False))
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A picture as WebP bytes, with its size in pixels."""

    content: bytes
    width: int
    height: int

    @property
    def address(self) -> str:
        """The picture as a data: address."""
        return f"data:image/webp;base64,{base64.b64encode(self.content).decode()}"


def pictures(files: Mapping[str, Path], budget: int = PICTURE_BYTES) -> dict[str, Picture]:
    """PNG files by name in the first of FORMS in which all together take at most `budget` bytes."""
    return _fitting(files, budget, FORMS)


def _fitting(files: Mapping[str, Path], budget: int, forms: Sequence[Form]) -> dict[str, Picture]:
    found = {name: _picture(file, forms[0]) for name, file in files.items()}
    if len(forms) == 1 or sum(len(picture.content) for picture in found.values()) <= budget:
        return found
    return _fitting(files, budget, forms[1:])


def _picture(file: Path, form: Form) -> Picture:
    try:
        with Image.open(file) as image:
            drawn = image.convert("RGB")
    except FileNotFoundError as error:
        raise BadInput(f"{file}: no such file; draw the figures first: make replicate") from error
    except OSError as error:
        raise BadInput(f"{file}: not a readable picture ({error}); delete it and run again") from error
    if drawn.width > form.width:
        drawn = drawn.resize((form.width, round(drawn.height * form.width / drawn.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    drawn.save(buffer, "WEBP", lossless=form.lossless, quality=80)
    return Picture(content=buffer.getvalue(), width=drawn.width, height=drawn.height)
