"""The file format of a bundle: a .tar.gz whose first member lists every other one with its SHA-256."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from moe_replication.errors import BadInput, named
from moe_replication.files import atomic_path

FORMAT = 1
MANIFEST = "manifest.json"
# A false length or a kilobyte that unpacks to gigabytes must not fill the memory. A scale's bundle holds some 100 MB.
LARGEST_MEMBER = 512 * 2**20
LARGEST_BUNDLE = 4 * 2**30
# No dot in front: neither hidden files nor a way out of the folder.
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}"
_MEMBER = re.compile(rf"config(?:/{_PART})+|(?:runs|probes)/{_PART}/{_PART}/seed-\d+/{_PART}")
_SCALE = re.compile(r"[a-z0-9-]+")


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A verified bundle: its manifest, and the bytes of every member by name."""

    path: Path
    manifest: dict
    contents: dict[str, bytes]

    @property
    def scale(self) -> str:
        """The scale of its runs."""
        return self.manifest["scale"]


def write_bundle(out: Path, about: dict, contents: Mapping[str, bytes]) -> dict:
    """Write the members below a manifest of `about` and their hashes; equal input gives equal bytes.

    Returns the manifest.
    """
    files = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in sorted(contents.items())
    }
    manifest = {"format": FORMAT, **about, "files": files}
    first = (json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
    with (
        atomic_path(out) as temporary,
        open(temporary, "wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, content in [(MANIFEST, first), *((name, contents[name]) for name in files)]:
            entry = tarfile.TarInfo(name)  # time 0, owner 0
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return manifest


def read_bundle(path: Path) -> Bundle:
    """Read a bundle and verify every hash; BadInput names unsafe, corrupt, missing and surplus members."""
    if not path.is_file():
        raise BadInput(f"{path}: no such file; give the bundle that `moe-replication export` wrote")
    manifest: dict | None = None
    contents: dict[str, bytes] = {}
    faults: dict[str, list[str]] = {"corrupt": [], "surplus": []}
    for name, content in _members(path):
        if manifest is None:
            manifest = _read_manifest(path, name, content)
        elif name not in manifest["files"] or name in contents:
            faults["surplus"].append(name)
        else:
            contents[name] = content
            if hashlib.sha256(content).hexdigest() != manifest["files"][name]["sha256"]:
                faults["corrupt"].append(name)
    if manifest is None:
        raise BadInput(f"{path}: an empty archive; copy the bundle again")
    faults["both a file and a folder"] = sorted(
        {parent.as_posix() for name in contents for parent in PurePosixPath(name).parents} & set(contents)
    )
    faults["missing"] = sorted(set(manifest["files"]) - set(contents))
    found = "; ".join(f"{kind}: {named(names)}" for kind, names in faults.items() if names)
    if found:
        raise BadInput(f"{path}: {found}; the file is damaged, copy it again")
    return Bundle(path=path, manifest=manifest, contents=contents)


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Each member's name and bytes; BadInput for an unsafe name, a link or a giant, and where the data end."""
    last, total = "its start", 0
    try:
        with tarfile.open(path, mode="r:gz") as archive:
            for entry in archive:
                last, total = entry.name, total + entry.size
                known = entry.name == MANIFEST or _MEMBER.fullmatch(entry.name)
                if not entry.isreg() or not known or entry.size > LARGEST_MEMBER or total > LARGEST_BUNDLE:
                    raise BadInput(
                        f"{path}: member {entry.name!r} is no plain file of config/, runs/ or probes/ of at most"
                        f" {LARGEST_MEMBER} bytes, {LARGEST_BUNDLE} in all; nothing was imported, do not trust this"
                        " file"
                    )
                yield entry.name, archive.extractfile(entry).read()
    # Headers that are not what tar writes surface as any of these.
    except (tarfile.TarError, EOFError, zlib.error, OSError, ValueError, OverflowError, LookupError) as error:
        if isinstance(error, BadInput):
            raise
        reason = " ".join(str(error).split())
        raise BadInput(f"{path}: truncated or no bundle, unreadable at {last} ({reason}); copy it again") from error


def _read_manifest(path: Path, name: str, content: bytes) -> dict:
    if name != MANIFEST:
        raise BadInput(f"{path}: does not start with {MANIFEST}; give a bundle that `moe-replication export` wrote")
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: corrupt: {MANIFEST} ({error}); copy the file again") from error
    version = manifest.get("format") if isinstance(manifest, dict) else None
    if version != FORMAT:
        raise BadInput(f"{path}: bundle format {version!r}, this version reads {FORMAT}; take a checkout of its time")
    if not _well_formed(manifest):
        raise BadInput(f"{path}: corrupt: {MANIFEST} lacks its scale, settings or files; export the bundle again")
    return manifest


def _well_formed(manifest: dict) -> bool:
    scale, files = manifest.get("scale"), manifest.get("files")
    return (
        isinstance(scale, str)
        and _SCALE.fullmatch(scale) is not None
        and isinstance(manifest.get("settings"), dict)
        and isinstance(files, dict)
        and all(isinstance(row, dict) and "sha256" in row for row in files.values())
    )
