"""What manifests hold of files and documents: sizes and hashes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from moe_replication.errors import BadInput
from moe_replication.files import sha256_file


def file_entry(path: Path) -> dict:
    """{file, bytes, sha256} of a file just written."""
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256_file(path)}


def ids_sha256(doc_ids: Iterable[str]) -> str:
    """SHA-256 (hex) of document ids in their order, a newline after each."""
    digest = hashlib.sha256()
    for doc_id in doc_ids:
        digest.update(f"{doc_id}\n".encode())
    return digest.hexdigest()


def check_file(folder: Path, entry: dict, *, verify: bool) -> None:
    """Compare a file with its entry, with `verify` also its hash; BadInput names a missing or altered one.

    The entry may be anything that JSON holds; a name that leads out of the folder is refused.
    """
    if not _is_entry(entry):
        raise BadInput(
            f"{folder / 'manifest.json'}: {entry!r:.80} is no name in the folder with bytes and sha256;"
            f" delete {folder} and prepare it again"
        )
    path = folder / entry["file"]
    if not path.is_file():
        raise BadInput(f"{path}: missing, though manifest.json names it; delete {folder} and prepare it again")
    size = path.stat().st_size
    if size != entry["bytes"]:
        raise BadInput(
            f"{path}: {size} bytes, manifest.json says {entry['bytes']}; delete {folder} and prepare it again"
        )
    if verify and sha256_file(path) != entry["sha256"]:
        raise BadInput(f"{path}: SHA-256 differs from manifest.json; delete {folder} and prepare it again")


def is_count(value: object, least: int = 0) -> bool:
    """Whether a value of a manifest is a whole number, `least` or more."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**63


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict):
        return False
    name, digest = entry.get("file"), entry.get("sha256")
    return (
        isinstance(name, str)
        and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", name) is not None
        and is_count(entry.get("bytes"))
        and isinstance(digest, str)
    )
