"""Numbers as short text, for ticks and cells."""

from __future__ import annotations


def short_numbers(value: float, position: int | None = None) -> str:
    """Tick text in thousands, millions, ...: 200, 8k, 1.2M, 10B."""
    return _short(value, 1000)


def short_powers(value: float, position: int | None = None) -> str:
    """Tick text of a pool size in the papers' way, in units of 1,024: 256, 2k, 512k."""
    return _short(value, 1024)


def dashed(value: float | None, form: str) -> str:
    """A number of a cell in a format such as `.2g`; a dash without one."""
    return "-" if value is None else f"{value:{form}}"


def _short(value: float, step: int) -> str:
    suffixes = ["", "k", "M", "B", "T"]
    while abs(value) >= step and len(suffixes) > 1:
        value /= step
        suffixes.pop(0)
    return f"{value:.4g}{suffixes[0]}"
