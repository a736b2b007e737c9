"""Names in settings, commands and records cannot lead out of the project's folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from fuzzing import command, files_below
from moe_replication.config import load_project
from moe_replication.errors import BadInput
from moe_replication.statistics.collect import read_record

ROOT = Path(__file__).parents[2]
NAMES = ("../evil", "..", "/tmp/evil", "a/b", "evil\n", ".hidden", "")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project beside which a file waits to be read as its scale or paper."""
    root = tmp_path / "project"
    for part in ("config", "workflow/schemas"):
        shutil.copytree(ROOT / part, root / part)
    for kind, name in (("scales", "smoke"), ("papers", "expert-threshold")):
        tree = yaml.safe_load((root / f"config/{kind}/{name}.yaml").read_text(encoding="utf-8"))
        for place, words in ((root / "config/evil.yaml", "../evil"), (root / "config" / kind / "..yaml", ".")):
            place.write_text(yaml.safe_dump(tree | {kind.removesuffix("s"): words}), encoding="utf-8")
    return root


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", ["scale", "papers", "conditions"])
def test_no_setting_names_a_file_elsewhere(project, key, name):
    with pytest.raises(BadInput):
        load_project(project, {"scale": "smoke"} | {key: name if key == "scale" else [name]})


@pytest.mark.parametrize("name", ["../evil", "..", "a/b", "et\n", ".et", "ET", "a\x00b"])
def test_no_condition_has_a_name_that_leads_elsewhere(project, name):
    path = project / "config/papers/expert-threshold.yaml"
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    tree["conditions"][name] = tree["conditions"]["et"]
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    with pytest.raises(BadInput, match=r"conditions = .* breaks the rule"):
        load_project(project, {"scale": "smoke"})


@pytest.mark.parametrize("words", [
    ("train", "results/../runs/expert-threshold/et/seed-0"),
    ("train", "results/smoke/runs/../../seed-0"),
    ("train", "../results/smoke/runs/expert-threshold/et/seed-0"),
    ("train", "results/smoke/runs/expert-threshold/et/seed-0/../../x"),
    ("probe", "results/smoke/runs/expert-threshold/../seed-0"),
    ("figure", "../../evil", "--scale", "smoke"),
    ("plan", "--scale", "../evil"),
    ("collect", "--scale", ".."),
    ("prepare", "tokens", "../../evil-512-2-1000-1000"),
    ("prepare", "images", "../evil"),
    ("prepare", "domains", "../evil"),
])  # fmt: skip
def test_no_command_takes_a_name_that_leads_elsewhere(project, words):
    before = files_below(project.parent)
    assert command(project, *words) is not None
    assert files_below(project.parent) == before


@pytest.mark.parametrize("key", ["../../../etc", "", "0123456789abcdeg", "0123456789abcdef\n", None, 7])
def test_no_record_names_checkpoints_elsewhere(tmp_path, write_run, key):
    """run_key is the name of the folder that snapshots are read from."""
    folder = write_run(tmp_path, "expert-threshold", "et", 0)
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    record["run"]["run_key"] = key
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(BadInput, match=r"run_key = .* must be 16 hex digits"):
        read_record(folder)
