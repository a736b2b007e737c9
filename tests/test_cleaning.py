"""`clean-checkpoints` removes what nobody would go on from, and only when told to."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from bundle_projects import empty_project
from moe_replication.cleaning import old_checkpoints
from moe_replication.cli.checkpoints import commands
from moe_replication.config.jobs import current_key
from moe_replication.config.needs import data_path
from moe_replication.files import write_json

ARGUMENTS = ("--scale", "smoke", "--set", "conditions=[tc,v1]", "--set", "seeds=[0,1]")


@pytest.fixture
def project(tmp_path):
    found = empty_project(tmp_path)
    for run in found.runs:
        write_json(tmp_path / data_path(found.data_folder, run.config) / "manifest.json", {"data": "made up"})
    return found


def checkpoints(project, key: str, run: str) -> Path:
    folder = project.root / "results/smoke/checkpoints" / key
    (folder / "step-00000007").mkdir(parents=True)
    (folder / "step-00000007/state.pt").write_bytes(b"x" * 10**6)
    (folder / "lock").write_text(run, encoding="utf-8")
    return folder


def call(project, monkeypatch, *arguments: str) -> str:
    monkeypatch.chdir(project.root)
    application = typer.Typer()
    application.add_typer(commands)
    result = CliRunner().invoke(application, ["clean-checkpoints", *ARGUMENTS, *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_listed_first_and_removed_only_when_told(project, monkeypatch):
    run = project.runs[0]
    old = checkpoints(project, "0" * 16, run.folder.as_posix())
    said = call(project, monkeypatch)
    assert f"checkpoints/{'0' * 16}, {run.folder} after step 7" in said
    assert "no longer needed: 1 folders, 1.0 MB; --yes removes them" in said
    assert old.is_dir()
    assert "removed 1 folders" in call(project, monkeypatch, "--yes")
    assert not old.exists()
    assert "no longer needed: 0 folders, 0.0 MB\n" in call(project, monkeypatch)


def test_what_is_needed_stays(project, monkeypatch):
    first, second = project.runs[0], project.runs[1]
    kept = [checkpoints(project, current_key(project, first), first.folder.as_posix())]
    # A record of older code: its probes still read the snapshots.
    kept.append(checkpoints(project, "1" * 16, second.folder.as_posix()))
    write_json(project.root / second.folder / "run.json", {"run": {"run_key": "1" * 16}})
    kept.append(checkpoints(project, "2" * 16, "results/smoke/runs/expert-threshold/et/seed-7"))
    kept.append(checkpoints(project, "3" * 16, ""))
    said = call(project, monkeypatch, "--yes")
    assert "removed 0 folders" in said
    assert "left alone: 2 folders of runs that are not in today's settings" in said
    assert all(folder.is_dir() for folder in kept)


def test_in_use_or_without_data_stays(project):
    run = project.runs[0]
    folder = checkpoints(project, "0" * 16, run.folder.as_posix())
    with open(folder / "lock", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert old_checkpoints(project) == ([], 0)
    assert len(old_checkpoints(project)[0]) == 1
    (project.root / data_path(project.data_folder, run.config) / "manifest.json").unlink()
    assert old_checkpoints(project) == ([], 0)
