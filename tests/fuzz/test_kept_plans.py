"""Damaged copies that the project keeps for itself: a plan is made anew, a kept record is not taken for whole."""

from __future__ import annotations

import dataclasses
import json
import shutil
import warnings
from pathlib import Path

import pytest
from hypothesis import given

from fuzzing import ROOT, Ledger, changes, drawn, files_below, fuzz_bytes, plain
from moe_replication.config import load_project
from moe_replication.config.jobs import RECORD_FILES
from moe_replication.files import write_json
from moe_replication.scheduling.requests import JobRequests, Request
from moe_replication.training.kept_record import is_kept, keep_record

NUMBERS = {"gpus": 1, "gpu_hours": 0.1, "memory_gb": 1.0, "checkpoint_gb": 0.5}


@pytest.fixture
def plan(tmp_path, monkeypatch) -> tuple[JobRequests, Path, list[int]]:
    """Requests of two conditions with a kept plan; planning anew gives the same rows and is counted."""
    for folder in ("config", "workflow"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    project = load_project(ROOT, {"scale": "smoke", "papers": ["expert-threshold"], "conditions": ["tc", "et"]})
    found = JobRequests(dataclasses.replace(project, root=tmp_path), needed=lambda: True)
    rows = [{"paper": run.paper, "condition": run.condition} | NUMBERS for run in project.runs]
    path, planned = tmp_path / "results/smoke/planned.json", []
    write_json(path, {"key": found._key(), "conditions": rows})
    monkeypatch.setattr("moe_replication.planning.plan.make_plan", planned.append)
    monkeypatch.setattr("moe_replication.planning.plan.plan_json", lambda _: {"conditions": rows})
    return found, path, planned


def asked(found: JobRequests) -> list[Request]:
    """What the jobs ask for, read anew."""
    vars(found).pop("_planned", None)
    return [found.of([run]) for run in found.project.runs]


def test_a_damaged_plan_is_made_anew(plan):
    """Every request is one that can be asked for, from the kept numbers or from new ones."""
    found, path, planned = plan
    expected, content, ledger = asked(found), path.read_bytes(), Ledger()
    tree = plain(path)

    @drawn(120)
    @given(changes(tree))
    def check(change):
        planned.clear()
        path.write_text(json.dumps(change.apply(tree)), encoding="utf-8")
        requests = asked(found)
        ledger.note(change, "made anew" if planned else None)
        assert not planned or requests == expected
        for request in requests:
            assert all(type(number) is int and 0 <= number < 10**15 for number in dataclasses.astuple(request))

    check()
    ledger.expect(60)
    for text in (b"", b"[]", b"\xff", content[:-30], b'{"key": 1}'):
        path.write_bytes(text)
        assert asked(found) == expected


@pytest.fixture
def kept(tmp_path) -> tuple[Path, Path]:
    """The folder of a finished run's checkpoints with its kept record, and the run."""
    run, checkpoints = tmp_path / "run", tmp_path / "checkpoints"
    for name in RECORD_FILES:
        write_json(run / name, {"file": name})
    (checkpoints / "snapshots").mkdir(parents=True)
    (checkpoints / "snapshots/step-00000001.pt").write_bytes(b"weights")
    keep_record(checkpoints, run)
    return checkpoints, run


def fate(checkpoints: Path, root: Path) -> str | None:
    """The warning with which a kept record is passed over, None where it counts; nothing is written either way."""
    before = files_below(root)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        whole = is_kept(checkpoints)
    assert files_below(root) == before
    assert whole is not bool(said)
    return None if whole else str(said[0].message)


def test_a_changed_manifest_of_a_kept_record_is_passed_over_with_a_warning(kept, tmp_path):
    checkpoints, _ = kept
    path, ledger = checkpoints / "record/manifest.json", Ledger()
    tree = plain(path)

    @drawn(100)
    @given(changes(tree))
    def check(change):
        path.write_text(json.dumps(change.apply(tree)), encoding="utf-8")
        message = fate(checkpoints, tmp_path)
        ledger.note(change, message)
        assert message is not None or change.kind == "add"

    check()
    ledger.expect(50)


@pytest.mark.parametrize("name", [*RECORD_FILES, "manifest.json"])
def test_other_bytes_of_a_kept_record_are_passed_over_with_a_warning(kept, tmp_path, name):
    checkpoints, _ = kept
    path = checkpoints / "record" / name
    ledger = fuzz_bytes(path, lambda: fate(checkpoints, tmp_path), 20)
    ledger.expect(len(ledger.outcomes) if name != "manifest.json" else 8)
    path.unlink()
    path.mkdir()
    assert fate(checkpoints, tmp_path) is not None
    shutil.rmtree(checkpoints / "record")
    assert not is_kept(checkpoints)
