"""Damaged and hostile bundles: `import` refuses them with exit code 2 and writes nothing."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle_projects import TC0, empty_project, exported, finished_project
from fuzzing import Change, Ledger, changes, command, damaged, damages, drawn, files_below, outcome
from moe_replication.bundles.archive import MANIFEST, read_bundle
from moe_replication.bundles.importing import import_runs, make_project
from moe_replication.config import Project

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture
def bundle(tmp_path: Path, write_run) -> Path:
    """A whole bundle of four runs."""
    path = tmp_path / "a.tar.gz"
    exported(finished_project(tmp_path / "there", write_run), path)
    return path


@pytest.fixture
def here(tmp_path: Path) -> Project:
    """A project without results."""
    return empty_project(tmp_path / "here")


def members_of(bundle: Path) -> dict[str, bytes]:
    with tarfile.open(bundle) as archive:
        return {entry.name: archive.extractfile(entry).read() for entry in archive}


def packed(path: Path, members: dict[str, bytes]) -> Path:
    """A bundle of these members whose manifest is right about their hashes, as a hostile author would make it."""
    manifest = json.loads(members[MANIFEST])
    if isinstance(manifest, dict) and isinstance(manifest.get("files"), dict):
        rows = {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in members.items()
            if name != MANIFEST
        }
        members = members | {MANIFEST: json.dumps(manifest | {"files": rows}).encode()}
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def refusal(here: Project, path: Path) -> str | None:
    return outcome(lambda: import_runs(here, read_bundle(path), replace=False), here.root)


def test_other_bytes_are_refused(bundle, here, tmp_path):
    """Every byte is under a hash but for gzip's header and padding, which carry nothing."""
    whole, path, ledger = bundle.read_bytes(), tmp_path / "b.tar.gz", Ledger()
    plain = gzip.decompress(whole)

    @drawn(80)
    @given(damages(), st.booleans())
    def check(damage, inside):
        changed = gzip.compress(damaged(plain, damage), 1) if inside else damaged(whole, damage)
        path.write_bytes(changed)
        message = outcome(lambda: read_bundle(path), tmp_path)
        ledger.note((damage, inside), message)
        if message is None:
            assert read_bundle(path).contents == read_bundle(bundle).contents

    check()
    ledger.expect(60)


@pytest.mark.parametrize("name", ["run.json", "environment.json"])
def test_a_hostile_record_is_refused_before_anything_is_written(bundle, here, tmp_path, name):
    members, path, ledger = members_of(bundle), tmp_path / "b.tar.gz", Ledger()
    member = f"{TC0}/{name}"
    tree = json.loads(members[member])

    @drawn(40)
    @given(changes(tree))
    def check(change):
        packed(path, members | {member: json.dumps(change.apply(tree)).encode()})
        message = refusal(here, path)
        ledger.note(change, message)
        if message is None:
            _remove(here.root / "results")

    check()
    ledger.expect(15)


def test_a_hostile_manifest_is_refused_before_anything_is_written(bundle, tmp_path):
    """Its settings become config.yaml of the project that `import --into` makes."""
    members, path, ledger = members_of(bundle), tmp_path / "b.tar.gz", Ledger()
    tree = json.loads(members[MANIFEST])
    tree = {key: tree[key] for key in ("format", "scale", "settings", "files")}
    fresh = tmp_path / "fresh"
    shown = {key: value for key, value in tree.items() if key != "files"}

    @drawn(40)
    @given(changes(shown))
    def check(change):
        manifest = change.apply(shown) | {"files": tree["files"]}
        packed(path, members | {MANIFEST: json.dumps(manifest).encode()})
        message = outcome(lambda: make_project(read_bundle(path), ROOT, fresh), tmp_path)
        ledger.note(change, message)
        if message is None:
            _remove(fresh)

    check()
    ledger.expect(20)


def test_hostile_settings_in_config_are_refused_before_anything_is_written(bundle, tmp_path):
    members, path, ledger = members_of(bundle), tmp_path / "b.tar.gz", Ledger()
    texts = st.sampled_from(
        [b"", b"[", b"\xff", b"!!python/object/apply:os.system [exit]", b"a: 1", b"[" * 9999, b"- id: 1"]
    )

    @drawn(25)
    @given(
        st.sampled_from(["config/scales/smoke.yaml", "config/papers/expert-threshold.yaml", "config/claims/x.yaml"]),
        texts,
    )
    def check(name, text):
        packed(path, members | {name: text})
        ledger.note((name, text), outcome(lambda: make_project(read_bundle(path), ROOT, tmp_path / "fresh"), tmp_path))

    check()
    ledger.expect(len(ledger.outcomes))


NAMES = ("../evil", "/tmp/evil", "runs/../../evil/x/seed-0/run.json", "runs/a/b/seed-0/../../run.json",
         "config/../evil", "runs/.a/b/seed-0/run.json", "runs/a/b/seed-x/run.json", "config/" + "a" * 300,
         "config/a\nb",
         "config/scales", "runs/a/b/seed-0/.hidden", "probes/a/b/seed-0//x", "C:evil", "config/a\x00b", "")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_no_member_lands_outside_its_place(bundle, here, tmp_path, name):
    path = packed(tmp_path / "b.tar.gz", members_of(bundle) | {name: b"x"})
    before = files_below(tmp_path)
    assert refusal(here, path) is not None
    assert files_below(tmp_path) == before
    assert not Path("/tmp/evil").exists()


def test_a_run_that_claims_another_name_is_refused(bundle, here, tmp_path):
    members = members_of(bundle)
    record = json.loads(members[f"{TC0}/run.json"])
    for key, value in (("paper", "../../evil"), ("condition", ".."), ("scale", "/etc"), ("seed", "0/../../x")):
        changed = Change("put", ("run", key), value).apply(record)
        path = packed(tmp_path / "b.tar.gz", members | {f"{TC0}/run.json": json.dumps(changed).encode()})
        assert "does not match its folder" in refusal(here, path)


def test_a_bundle_that_unpacks_without_end_is_refused(bundle, here, tmp_path, monkeypatch):
    members = members_of(bundle)
    path = packed(tmp_path / "b.tar.gz", members | {f"config/{n}.yaml": bytes(2**20) for n in range(5)})
    monkeypatch.setattr("moe_replication.bundles.archive.LARGEST_BUNDLE", 4 * 2**20)
    assert path.stat().st_size < 2**20
    assert "in all; nothing was imported" in refusal(here, path)


def test_the_command_says_it_with_exit_code_2(bundle, here, tmp_path):
    path = tmp_path / "b.tar.gz"
    path.write_bytes(bundle.read_bytes()[:-500])
    assert "copy it again" in command(here.root, "import", str(path))
    assert "no such file" in command(here.root, "import", str(tmp_path / "c.tar.gz"))
    assert "no such file" in command(here.root, "import", str(tmp_path))


def _remove(folder: Path) -> None:
    for file in sorted(folder.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    folder.rmdir()
