"""A full disk and a folder without write permission: a command fails with the reason, what was there stays whole."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bundle_projects import empty_project, exported, finished_project
from fuzzing import command, files_below
from moe_replication.bundles.archive import read_bundle
from moe_replication.bundles.importing import import_runs
from moe_replication.files import atomic_path, read_json, write_json

ONLY = ("--scale", "smoke", "--set", "conditions=[tc, v1]", "--set", "seeds=[0, 1]")
# No file may grow beyond 2 kB: the kernel refuses the write as it does on a full disk.
FULL = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))
from moe_replication.cli import main
main()
"""
# Root may write anywhere; without this capability the mode of a folder counts for it too.
WITHOUT_OVERRIDE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")


@pytest.fixture
def project(tmp_path: Path, write_run) -> Path:
    """Four finished runs and their tables."""
    root = tmp_path / "project"
    finished_project(root, write_run)
    assert command(root, "collect", *ONLY) is None
    return root


def run(root: Path, *words: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(words, cwd=root, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["collect", "export"])
def test_a_full_disk_leaves_what_was_there(project, name):
    before = files_below(project)
    extra = ("--out", str(project / "a.tar.gz")) if name == "export" else ()
    result = run(project, sys.executable, "-c", FULL, name, *ONLY, *extra)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "File too large; mend the disk" in result.stderr
    assert result.stderr.count("\n") == 1
    assert files_below(project) == before


@pytest.mark.slow
def test_a_folder_without_write_permission_leaves_what_was_there(project):
    as_user = WITHOUT_OVERRIDE if os.geteuid() == 0 else ()
    if as_user and shutil.which("setpriv") is None:
        pytest.skip("root needs setpriv to be bound by permissions")
    results = project / "results/smoke"
    before = files_below(project)
    results.chmod(0o555)
    try:
        result = run(project, *as_user, sys.executable, "-m", "moe_replication.cli", "collect", *ONLY)
    finally:
        results.chmod(0o755)
    assert result.returncode == 1
    assert "Permission denied; mend the disk or its rights" in result.stderr
    assert files_below(project) == before


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_late_leaves_the_old_file(tmp_path, monkeypatch, call):
    write_json(tmp_path / "a.json", {"x": 1})

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(OSError, match="No space left"), atomic_path(tmp_path / "a.json") as temporary:
        temporary.write_text("{}", encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"x": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.slow
@pytest.mark.parametrize("after", [3, 30])
def test_an_import_on_a_full_disk_brings_whole_runs_or_none(tmp_path, write_run, monkeypatch, after):
    """Whichever file is the first that does not fit."""
    exported(finished_project(tmp_path / "there", write_run), tmp_path / "a.tar.gz")
    here, bundle = empty_project(tmp_path / "here"), read_bundle(tmp_path / "a.tar.gz")
    before, write, written = files_below(here.root), Path.write_bytes, []

    def fills_up(path: Path, content: bytes) -> int:
        written.append(path)
        if len(written) > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", fills_up)
    with pytest.raises(OSError, match="No space left"):
        import_runs(here, bundle, replace=False)
    assert files_below(here.root) == before
