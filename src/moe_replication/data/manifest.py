"""What manifests hold of files and documents: sizes and hashes."""

from __future__ import annotations

import hashlib
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
    """Compare a file with its entry, with `verify` also its hash; BadInput names a missing or altered one."""
    path = folder / entry["file"]
    if not path.exists():
        raise BadInput(f"{path}: missing, though manifest.json names it; delete {folder} and prepare it again")
    size = path.stat().st_size
    if size != entry["bytes"]:
        raise BadInput(
            f"{path}: {size} bytes, manifest.json says {entry['bytes']}; delete {folder} and prepare it again"
        )
    if verify and sha256_file(path) != entry["sha256"]:
        raise BadInput(f"{path}: SHA-256 differs from manifest.json; delete {folder} and prepare it again")
