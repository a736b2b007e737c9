"""Small files written so that a partial one never looks complete."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moe_replication.errors import BadInput

# What a float holds, as readers make floats of whole numbers.
_MOST_DIGITS = 300


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success fsync it and rename it into place."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        with open(temporary, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: object) -> None:
    """Write JSON with sorted keys atomically; non-finite numbers become null."""
    write_text(path, json.dumps(_finite(value), indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: Path | str) -> dict:
    """Read a JSON object; BadInput names a missing, truncated or foreign file."""
    path = Path(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"), parse_int=_whole_number)
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such file; run the rule that makes it") from error
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); mend its place or its rights") from error
    except (ValueError, RecursionError) as error:  # also text that is no UTF-8, numbers of thousands of digits
        raise BadInput(f"{path}: not valid JSON ({error}); delete it and run again") from error
    if not isinstance(value, dict):
        raise BadInput(f"{path}: expected a JSON object, found {type(value).__name__}; delete it and run again")
    return value


def sha256_file(path: Path | str) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_json(value: object) -> str:
    """SHA-256 of a value's canonical JSON form, in hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _whole_number(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
