"""Bundles that are damaged or not ours: refused, with the member at fault."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from bundle_projects import TC0, exported, finished_project
from moe_replication.bundles.archive import read_bundle
from moe_replication.errors import BadInput


@pytest.fixture
def bundle(tmp_path: Path, write_run) -> Path:
    """A whole bundle."""
    path = tmp_path / "a.tar.gz"
    exported(finished_project(tmp_path / "there", write_run), path)
    return path


def rewritten(source: Path, out: Path, change) -> Path:
    """A copy of a bundle whose members, as (header, bytes) pairs, went through `change`."""
    with tarfile.open(source) as archive:
        members = [(entry, archive.extractfile(entry).read()) for entry in archive]
    with tarfile.open(out, "w:gz") as archive:
        for entry, content in change(members):
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out


def corrupt(members):
    return [(e, c[:-1] + b"?" if e.name == f"{TC0}/curve.parquet" else c) for e, c in members]


def longer(members):
    return [(e, c + b"?" if e.name == f"{TC0}/curve.parquet" else c) for e, c in members]


def missing(members):
    return [(e, c) for e, c in members if e.name != f"{TC0}/cost.json"]


def surplus(members):
    return [*members, (tarfile.TarInfo(f"{TC0}/weights.pt"), b"0")]


def repeated(members):
    return [*members, members[-1]]


def traversal(members):
    return [*members, (tarfile.TarInfo("runs/../../../evil"), b"0")]


def absolute(members):
    return [*members, (tarfile.TarInfo("/tmp/evil"), b"0")]


def link(members):
    entry = tarfile.TarInfo(f"{TC0}/log.txt")
    entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return [*members, (entry, b"")]


def newer_format(members):
    entry, content = members[0]
    return [(entry, json.dumps(json.loads(content) | {"format": 2}).encode()), *members[1:]]


def headless(members):
    return members[1:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (corrupt, f"corrupt: {TC0}/curve.parquet;"),
        (longer, f"corrupt: {TC0}/curve.parquet;"),
        (missing, f"missing: {TC0}/cost.json;"),
        (surplus, f"surplus: {TC0}/weights.pt;"),
        (repeated, "surplus: runs/expert-threshold/tc/seed-1/run.json;"),
        (traversal, "member 'runs/../../../evil' is no plain file"),
        (absolute, "member '/tmp/evil' is no plain file"),
        (link, f"member '{TC0}/log.txt' is no plain file"),
        (newer_format, "bundle format 2, this version reads 1"),
        (headless, "does not start with manifest.json"),
    ],
)
def test_damaged_and_foreign_bundles_are_refused(bundle, tmp_path, change, message):
    with pytest.raises(BadInput) as caught:
        read_bundle(rewritten(bundle, tmp_path / "b.tar.gz", change))
    assert message in str(caught.value)


def test_truncated_bundle_names_where_it_ends(bundle, tmp_path):
    plain = gzip.decompress(bundle.read_bytes())
    cut = plain.index(f"{TC0}/curve.parquet".encode(), plain.index(b"ustar", 600)) + 600
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(plain[:cut]))
    with pytest.raises(BadInput, match=f"truncated or no bundle, unreadable at {TC0}/curve.parquet"):
        read_bundle(tmp_path / "b.tar.gz")
    (tmp_path / "c.tar.gz").write_bytes(bundle.read_bytes()[:-1000])
    with pytest.raises(BadInput, match="truncated or no bundle"):
        read_bundle(tmp_path / "c.tar.gz")
    (tmp_path / "d.tar.gz").write_bytes(b"not a bundle")
    with pytest.raises(BadInput, match="unreadable at its start"):
        read_bundle(tmp_path / "d.tar.gz")
