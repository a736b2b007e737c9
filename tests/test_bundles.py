"""Result bundles: what is in one, what damage is named, and what importing does to records that are there."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import polars as pl
import pytest

from bundle_projects import CHOSEN, ROOT, TC0, empty_project, exported, files_below, finished_project
from moe_replication.bundles.archive import read_bundle, write_bundle
from moe_replication.bundles.exporting import export_runs
from moe_replication.bundles.importing import import_runs, make_project
from moe_replication.config import Project, load_project
from moe_replication.config.fingerprint import training_code_version
from moe_replication.config.jobs import training_jobs
from moe_replication.config.overrides import read_settings
from moe_replication.config.probe import probe_folder
from moe_replication.errors import BadInput
from moe_replication.files import read_json, write_json


@pytest.fixture
def project(tmp_path: Path, write_run) -> Project:
    """Four finished runs, two of each paper."""
    return finished_project(tmp_path / "there", write_run)


def other_code(project: Project) -> None:
    """Records as an older training code wrote them."""
    for run in project.runs:
        path = project.root / run.folder / "run.json"
        write_json(path, read_json(path) | {"training_code": "0123456789ab"})


def test_what_is_no_part_of_the_record_changes_no_byte_of_a_bundle(project, tmp_path):
    exported(project, tmp_path / "a.tar.gz")
    for run in project.runs:
        for name in ("deepspeed.json", "attempts.log", "log.txt"):
            (project.root / run.folder / name).write_text("{}", encoding="utf-8")
    exported(project, tmp_path / "b.tar.gz")
    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "b.tar.gz").read_bytes()


def test_bundle_lists_every_file_with_its_hash_and_counts(project, tmp_path):
    manifest = exported(project, tmp_path / "a.tar.gz")
    with tarfile.open(tmp_path / "a.tar.gz") as archive:
        members = {entry.name: archive.extractfile(entry).read() for entry in archive}
        entries = archive.getmembers()
    assert entries[0].name == "manifest.json"
    assert [entry.name for entry in entries[1:]] == sorted(manifest["files"])
    assert {(entry.mtime, entry.uid, entry.gid, entry.uname) for entry in entries} == {(0, 0, 0, "")}
    for name, row in manifest["files"].items():
        assert hashlib.sha256(members[name]).hexdigest() == row["sha256"]
    # 6 files of each run, 10 of a probe of paper A, 2 of a scan of paper B.
    results = [name for name in manifest["files"] if not name.startswith("config/")]
    assert len(results) == 4 * 6 + 2 * 10 + 2 * 2
    assert manifest["counts"]["runs"] == {"expert-threshold": 2, "expert-ecology": 2}
    assert manifest["counts"]["probed_runs"] == 4
    assert manifest["versions"]["training_code"] == {training_code_version(): 4}
    assert not any(name.endswith((".pt", ".txt")) for name in members)
    assert (
        members["config/papers/expert-threshold.yaml"] == Path(ROOT, "config/papers/expert-threshold.yaml").read_bytes()
    )


def test_equal_results_give_equal_bytes(project, tmp_path):
    exported(project, tmp_path / "a.tar.gz")
    for path in project.root.rglob("run.json"):
        path.touch()
    exported(project, tmp_path / "other-name.tar.gz")
    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "other-name.tar.gz").read_bytes()


def test_folders_of_the_exporting_machine_stay_there(project, tmp_path):
    chosen = CHOSEN | {"data": {"folder": "/secret/data", "roots": {"cifar10": str(tmp_path)}}}
    settings = read_settings(project.root, chosen)
    manifest, _ = export_runs(project, settings, tmp_path / "a.tar.gz")
    assert manifest["settings"]["data"]["folder"] == "data"
    # That a local copy was set decides which stand-in is taken, so the fact goes along and the place does not.
    assert manifest["settings"]["data"]["roots"]["cifar10"] == "data/roots/cifar10"
    assert manifest["settings"]["data"]["roots"]["cifar100"] is None


def test_unfinished_runs_are_left_out_and_named(project, tmp_path):
    runs = {(run.condition, run.seed): run for run in project.runs}
    (project.root / probe_folder(runs["tc", 0]) / "fanout.parquet").unlink()
    path = project.root / runs["v1", 1].folder / "run.json"
    write_json(path, read_json(path) | {"training_code": "0123456789ab"})
    manifest, unfinished = export_runs(project, read_settings(project.root, CHOSEN), tmp_path / "a.tar.gz")
    assert unfinished == [runs["tc", 0], runs["v1", 1]]
    assert manifest["counts"]["runs"] == {"expert-threshold": 1, "expert-ecology": 1}
    other_code(project)
    with pytest.raises(BadInput, match="no finished run at scale smoke"):
        export_runs(project, read_settings(project.root, CHOSEN), tmp_path / "a.tar.gz")


def test_imported_runs_are_marked_and_need_no_job_whatever_code_trained_them(project, tmp_path, monkeypatch):
    exported(project, tmp_path / "a.tar.gz")
    here = empty_project(tmp_path / "here")
    assert len(list(training_jobs(here))) == 2
    # Here the training code is another one.
    monkeypatch.setattr("moe_replication.config.jobs.training_code_version", lambda: "another code")
    monkeypatch.setattr("moe_replication.bundles.importing.training_code_version", lambda: "another code")
    lines = import_runs(here, read_bundle(tmp_path / "a.tar.gz"), replace=False)
    code = f"; trained by other code than this one's ({training_code_version()})"
    assert lines == [
        f"expert-ecology: 2 runs (2 new), 2 with probes{code}",
        f"expert-threshold: 2 runs (2 new), 2 with probes{code}",
    ]
    assert list(training_jobs(here)) == []
    theirs, ours = (files_below(root.root / "results/smoke") for root in (project, here))
    logs = {name for name in theirs if name.endswith("log.txt")}
    assert set(ours) == set(theirs) - logs
    for name, content in ours.items():
        if name.endswith("run.json"):
            assert json.loads(content) == json.loads(theirs[name]) | {"imported": True}
        else:
            assert content == theirs[name]


def test_record_of_other_settings_trains_again(project, tmp_path):
    path = project.root / "results/smoke" / TC0 / "run.json"
    bundle = tmp_path / "a.tar.gz"
    exported(project, bundle)
    here = empty_project(tmp_path / "here")
    matrix = here.root / "config/papers/expert-threshold.yaml"
    text = matrix.read_text(encoding="utf-8")
    changed = "set: {routing: {rule: token_choice, top_k: 2}}"
    matrix.write_text(text.replace("set: {routing: {rule: token_choice}}", changed, 1), encoding="utf-8")
    here = load_project(here.root, CHOSEN | {"seeds": [0]})
    lines = import_runs(here, read_bundle(bundle), replace=False)
    assert "not asked for by config/: expert-ecology/v1/seed-1" in lines[0]
    assert lines[1].endswith(
        "made from other settings than config/ has, so they train again: expert-threshold/tc/seed-0"
    )
    assert [job.title for job in training_jobs(here)] == ["expert-threshold tc, seed 0"]
    assert path.exists()


def test_importing_again_changes_nothing(project, tmp_path):
    exported(project, tmp_path / "a.tar.gz")
    lines = import_runs(project, read_bundle(tmp_path / "a.tar.gz"), replace=False)
    assert lines[0] == "expert-ecology: 2 runs (2 unchanged), 2 with probes"
    # A run trained here stays one, with its log.
    assert read_json(project.root / "results/smoke" / TC0 / "run.json")["imported"] is False
    assert (project.root / "results/smoke" / TC0 / "log.txt").exists()


def test_different_record_is_refused_unless_replaced(project, tmp_path):
    exported(project, tmp_path / "a.tar.gz")
    path = project.root / "results/smoke" / TC0 / "run.json"
    record = read_json(path)
    write_json(path, record | {"metrics": record["metrics"] | {"val_loss": 1.0}})
    before = files_below(project.root)
    with pytest.raises(
        BadInput, match=r"1 records are there already and differ: expert-threshold/tc/seed-0; --replace"
    ):
        import_runs(project, read_bundle(tmp_path / "a.tar.gz"), replace=False)
    assert files_below(project.root) == before
    lines = import_runs(project, read_bundle(tmp_path / "a.tar.gz"), replace=True)
    assert lines[1].startswith("expert-threshold: 2 runs (1 replaced, 1 unchanged)")
    assert read_json(path) == record | {"imported": True}
    assert [path.name for path in (project.root / "results").iterdir()] == ["smoke"]


def test_lost_file_comes_back(project, tmp_path):
    exported(project, tmp_path / "a.tar.gz")
    curve = project.root / "results/smoke" / TC0 / "curve.parquet"
    content = curve.read_bytes()
    curve.unlink()
    assert "(1 new, 1 unchanged)" in import_runs(project, read_bundle(tmp_path / "a.tar.gz"), replace=False)[1]
    assert curve.read_bytes() == content


def test_faulty_record_in_an_honest_bundle_is_refused_and_nothing_is_written(project, tmp_path):
    bundle = tmp_path / "a.tar.gz"
    about = exported(project, bundle)
    contents = dict(read_bundle(bundle).contents)
    record = json.loads(contents[f"{TC0}/run.json"])
    record["run"]["seed"] = 7
    contents[f"{TC0}/run.json"] = json.dumps(record).encode()
    write_bundle(tmp_path / "b.tar.gz", {key: about[key] for key in ("scale", "settings")}, contents)
    here = empty_project(tmp_path / "here")
    with pytest.raises(
        BadInput, match=rf"b\.tar\.gz: {TC0}/run\.json: is the record of smoke .* seed 7, which does not"
    ):
        import_runs(here, read_bundle(tmp_path / "b.tar.gz"), replace=False)
    assert files_below(here.root / "results") == {}


def test_project_of_a_bundle_has_its_settings_and_no_foreign_folders(project, tmp_path):
    bundle = tmp_path / "a.tar.gz"
    about = exported(project, bundle)
    content = read_bundle(bundle)
    settings = about["settings"] | {"data": about["settings"]["data"] | {"folder": "$(evil)"}}
    settings["data"]["roots"] = settings["data"]["roots"] | {"cifar10": str(tmp_path / "evil")}
    write_bundle(bundle, {"scale": "smoke", "settings": settings}, content.contents)
    make_project(read_bundle(bundle), ROOT, tmp_path / "fresh")
    found = load_project(tmp_path / "fresh")
    assert [(run.condition, run.seed) for run in found.runs] == [("tc", 0), ("tc", 1), ("v1", 0), ("v1", 1)]
    assert (found.data_folder, found.roots["cifar10"]) == ("data", "data/roots/cifar10")
    assert found.condition(found.run("expert-ecology", "v1", 0)).config.data.set == "cifar10"
    assert not (tmp_path / "evil").exists()
    with pytest.raises(BadInput, match="is not empty; name a new folder"):
        make_project(read_bundle(bundle), ROOT, tmp_path / "fresh")


# What a report from a bundle imports: the commands on records, the Snakefile, and all that they can reach.
IMPORT_ALL = """
import importlib, pkgutil
modules = ["moe_replication.data.code"]
for part in ("bundles", "cli", "config", "figures", "statistics"):
    package = importlib.import_module("moe_replication." + part)
    modules += [row.name for row in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in modules:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(modules), "modules")
"""


def test_report_path_imports_neither_torch_nor_deepspeed():
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests/without_training")}
    hidden = subprocess.run([sys.executable, "-c", "import torch"], env=environment, capture_output=True, check=False)
    assert b"No module named 'torch'" in hidden.stderr
    command = [sys.executable, "-c", IMPORT_ALL]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout.split()[0]) > 50


def test_commands_say_what_they_did(project, tmp_path):
    def call(*arguments):
        command = [sys.executable, "-m", "moe_replication.cli", *arguments]
        return subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False)

    chosen = ("--set", "conditions=[tc,v1]", "--set", "seeds=[0,1,2]")
    out = call("export", "--scale", "smoke", "--out", "a.tar.gz", *chosen)
    assert out.returncode == 0, out.stderr
    assert "warning: left out 2 runs" in out.stdout
    assert "exported 2 runs of expert-threshold, 2 runs of expert-ecology" in out.stdout
    again = call("import", "a.tar.gz", *chosen)
    assert again.stdout.splitlines()[0] == "expert-ecology: 2 runs (2 unchanged), 2 with probes"
    # Its own settings ask for six runs: a report would have to train two.
    lacking = call("import", "a.tar.gz", "--into", "fresh")
    assert lacking.returncode == 2
    assert "lacks the record or probes of 2 runs of its own config/: expert-threshold tc seed 2" in lacking.stderr


def test_imported_records_are_collected_as_such(project, tmp_path):
    from moe_replication.statistics.collect import collect

    exported(project, tmp_path / "a.tar.gz")
    here = empty_project(tmp_path / "here")
    import_runs(here, read_bundle(tmp_path / "a.tar.gz"), replace=False)
    collect([here.root / run.folder for run in here.runs], tmp_path)
    assert pl.read_parquet(tmp_path / "runs.parquet")["imported"].to_list() == [True] * 4
