"""Files that would run code where somebody reads them carelessly: here they do nothing and are refused."""

from __future__ import annotations

import ast
import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from moe_replication.config import load_project
from moe_replication.config.overrides import parse_overrides
from moe_replication.config.schema import read_yaml
from moe_replication.data.images import ImageSet, write_image_set
from moe_replication.data.manifest import file_entry
from moe_replication.errors import BadInput
from moe_replication.evaluation.checkpoints import load_language_model
from moe_replication.files import read_json, write_json

SOURCE = Path(__file__).parents[2] / "src"
# Calls that execute what a file holds; each may stand only where the value says, for the reason there.
DANGEROUS = {
    "pickle.load": (), "pickle.loads": (), "eval": (), "exec": (), "os.system": (), "yaml.unsafe_load": (),
    "yaml.full_load": (),
    # A subclass of the safe loader.
    "yaml.load": ("config/plain_yaml.py",),
}  # fmt: skip
# Keywords that make a call dangerous.
KEYWORDS = {("allow_pickle", True), ("weights_only", False), ("shell", True), ("trust_remote_code", True)}


class Malicious:
    """Makes a folder when it is unpickled without restriction."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def mark(tmp_path: Path):
    """A path that exists at the end only if somebody's code ran."""
    path = tmp_path / "code-ran"
    yield path
    assert not path.exists()


def test_the_malicious_object_does_harm_where_it_is_trusted(tmp_path):
    """Else the other tests could not fail."""
    pickle.loads(pickle.dumps(Malicious(tmp_path / "ran")))
    assert (tmp_path / "ran").is_dir()


@pytest.mark.parametrize("place", ["model", "task", "extra"])
def test_a_malicious_snapshot_runs_nothing(tmp_path, mark, place):
    project = load_project(SOURCE.parent, {"scale": "smoke", "papers": ["expert-threshold"], "conditions": ["et"]})
    torch.save({"model": {}, "task": {}, place: Malicious(mark)}, tmp_path / "step-00000001.pt")
    with pytest.raises((BadInput, pickle.UnpicklingError)):
        load_language_model(project.runs[0], tmp_path / "step-00000001.pt")


@pytest.mark.parametrize("kind", ["objects", "pickle", "zip"])
def test_a_malicious_image_set_runs_nothing(tmp_path, mark, kind):
    """Its manifest is right about size and hash, as a hostile author would make it."""
    labels = np.arange(6) % 3
    images = np.zeros((6, 4, 4, 3), np.uint8)
    write_image_set(tmp_path, "tiny", (images, labels), (images, labels), classes=3, source="test")
    path, content = tmp_path / "train_labels.npy", io.BytesIO()
    if kind == "objects":
        np.save(content, np.array([Malicious(mark)], dtype=object), allow_pickle=True)
    elif kind == "zip":
        np.savez(content, labels=np.array([Malicious(mark)], dtype=object))
    else:
        pickle.dump(Malicious(mark), content)
    path.write_bytes(content.getvalue())
    manifest = read_json(tmp_path / "manifest.json")
    write_json(tmp_path / "manifest.json", manifest | {"files": manifest["files"] | {"train_labels": file_entry(path)}})
    with pytest.raises(BadInput, match=r"train_labels\.npy"):
        ImageSet.open(tmp_path, verify=True)


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !!python/object/apply:os.mkdir [{mark}]", "could not determine a constructor"),
        ("a: !!python/object/new:os.mkdir [{mark}]", "could not determine a constructor"),
        ("a: !!python/name:os.mkdir", "could not determine a constructor"),
        ("!!python/module:antigravity {{}}", "could not determine a constructor"),
        (BOMB, "its aliases stand for more than"),
        ("a: &a [*a]", "an alias stands within its own anchor"),
        ("a: " + "[" * 100_000, "more than 50 levels"),
        ("a: 1\nb: 2\na: 3", "at line 3 .*'a' stands twice"),
        ("base: &b {{x: 1}}\na:\n  <<: *b\n  y: 1\n  y: 2", "at line 5 .*'y' stands twice"),
        ("1: 2", "key '1' is no text; quote it"),
        ("a: 2026-11-22", "is a date; quote it"),
        ("a: 2026-13-45", "month must be in"),
        ("a: !!set {{x, y}}", "is a set; quote it"),
    ],
)
def test_a_malicious_yaml_runs_nothing_and_is_named(tmp_path, mark, text, message):
    path = tmp_path / "a.yaml"
    path.write_text(text.replace("{mark}", str(mark)).replace("{{", "{").replace("}}", "}"), encoding="utf-8")
    with pytest.raises(BadInput, match=rf"a\.yaml: not valid YAML .*{message}"):
        read_yaml(path)


def test_merged_and_repeated_aliases_stay_allowed(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("base: &b {x: 1, y: 2}\nover: &o {<<: *b, y: 3}\nagain: {<<: *o, z: 4}\nlist: [*b, *b]\n")
    found = read_yaml(path)
    assert found["again"] == {"x": 1, "y": 3, "z": 4}
    assert found["list"] == [{"x": 1, "y": 2}] * 2


def test_a_malicious_override_runs_nothing(mark):
    with pytest.raises(BadInput, match="not valid YAML"):
        parse_overrides([f"scale=!!python/object/apply:os.mkdir [{mark}]"])


def test_no_call_in_the_source_executes_what_a_file_holds():
    found = []
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            place = file.relative_to(SOURCE / "moe_replication").as_posix()
            if name in DANGEROUS and place not in DANGEROUS[name]:
                found.append(f"{place}:{node.lineno} {name}")
            given = {(item.arg, getattr(item.value, "value", None)) for item in node.keywords}
            if given & KEYWORDS or (name == "torch.load" and ("weights_only", True) not in given):
                found.append(f"{place}:{node.lineno} {ast.unparse(node)}")
    assert found == []
