"""The CORE bundle: read from a folder, a zip or a URL, and refused by name where it is not whole."""

from __future__ import annotations

import functools
import http.server
import io
import json
import threading
import zipfile
from pathlib import Path

import pytest
import yaml

from core_bundles import BASELINES, ENTRIES, ITEMS, core_settings_of, write_bundle, zip_bundle
from moe_replication.config import load_project
from moe_replication.config.core import core_runs, core_settings
from moe_replication.errors import BadInput
from moe_replication.evaluation.core_bundle import find_bundle, open_bundle

ROOT = Path(__file__).parents[2]
SETTINGS = core_settings_of()


@pytest.fixture
def folder(tmp_path):
    return write_bundle(tmp_path)


def edit_entry(folder, label, **changes):
    entries = [entry | (changes if entry["label"] == label else {}) for entry in ENTRIES]
    (folder / "core.yaml").write_text(yaml.safe_dump({"icl_tasks": entries}), encoding="utf-8")


def test_tasks_come_with_kind_shots_delimiter_and_baseline(folder):
    tasks = {task.name: task for task in open_bundle(folder, SETTINGS).tasks}
    assert {name: list(task.items) for name, task in tasks.items()} == ITEMS
    assert {name: task.baseline for name, task in tasks.items()} == BASELINES
    assert (tasks["order"].kind, tasks["order"].shots, tasks["order"].delimiter) == ("multiple_choice", 2, " ")
    assert (tasks["pronoun"].kind, tasks["pronoun"].shots, tasks["pronoun"].delimiter) == ("schema", 1, "")


def test_folder_its_parent_and_its_zip_are_the_same_bundle(folder, tmp_path):
    zipped = open_bundle(zip_bundle(folder, tmp_path / "b.zip"), SETTINGS)
    assert zipped == open_bundle(folder, SETTINGS) == open_bundle(tmp_path, SETTINGS)


def test_hash_follows_the_contents(folder):
    before = open_bundle(folder, SETTINGS).sha256
    file = folder / "eval_data/logic/alphabet.jsonl"
    file.write_text(file.read_text(encoding="utf-8").replace("dxf", "dyf"), encoding="utf-8")
    assert open_bundle(folder, SETTINGS).sha256 != before


def test_missing_and_extra_tasks_are_named(folder):
    with pytest.raises(BadInput, match=r"core\.yaml lacks copa, piqa, .*mean of the 5 tasks.*set data\.roots\.core"):
        open_bundle(folder, core_settings_of(tasks=(*ITEMS, "copa", "piqa")))
    with pytest.raises(BadInput, match=r"also holds pronoun"):
        open_bundle(folder, core_settings_of(tasks=("order", "alphabet")))
    (folder / "core.yaml").write_text(yaml.safe_dump({"icl_tasks": [*ENTRIES, ENTRIES[0]]}), encoding="utf-8")
    with pytest.raises(BadInput, match=r"holds twice order"):
        open_bundle(folder, SETTINGS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"icl_task_type": "generation"}, r"task pronoun: icl_task_type = 'generation' must be one of multiple_choice"),
        ({"num_fewshot": 3}, r"task pronoun: num_fewshot = 3 must be a list of one number"),
        ({"num_fewshot": [4]}, r"task pronoun: .*4 examples are too few for 4 shots"),
        ({"continuation_delimiter": 1}, r"task pronoun: continuation_delimiter = 1 must be a text"),
        ({"dataset_uri": "language/none.jsonl"}, r"task pronoun: .*holds no eval_data/language/none\.jsonl"),
        ({"dataset_uri": None}, r"task pronoun: dataset_uri must name a file"),
    ],
)
def test_wrong_entries_are_named(folder, changes, message):
    edit_entry(folder, "pronoun", **changes)
    with pytest.raises(BadInput, match=message):
        open_bundle(folder, SETTINGS)


@pytest.mark.parametrize(
    ("task", "line", "message"),
    [
        ("order", "{", r"task order: eval_data/logic/order\.jsonl, line 1: not valid JSON"),
        ("order", "[]", r"line 1: expected an object, found list"),
        ("order", '{"query": 1, "choices": ["a"], "gold": 0}', r"line 1: query must be a text"),
        ("order", '{"query": "a", "choices": "ab", "gold": 0}', r"line 1: choices must be a list of texts"),
        (
            "order",
            '{"query": "a", "choices": ["a", "b"], "gold": 2}',
            r"gold = 2 must be the place of one of 2 choices",
        ),
        ("order", '{"query": "a", "choices": ["a", "b"], "gold": true}', r"gold = True must be"),
        ("alphabet", '{"context": "a", "continuation": " "}', r"task alphabet: .*line 1: continuation is blank"),
    ],
)
def test_damaged_examples_are_named(folder, task, line, message):
    file = next((folder / "eval_data").rglob(f"{task}.jsonl"))
    file.write_text(line + "\n" + json.dumps(ITEMS[task][0]), encoding="utf-8")
    with pytest.raises(BadInput, match=message):
        open_bundle(folder, SETTINGS)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("order,logic", "ordered,logic", r"eval_meta_data\.csv has no row for task order"),
        ("Random baseline", "Random", r"lacks the column 'Random baseline'"),
        (
            "order,logic,,,,50",
            "order,logic,,,,100",
            r"task order: Random baseline = '100' must be at least 0 and below",
        ),
        ("order,logic,,,,50", "order,logic,,,,half", r"task order: Random baseline = 'half'"),
    ],
)
def test_wrong_baselines_are_named(folder, old, new, message):
    file = folder / "eval_meta_data.csv"
    file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(BadInput, match=message):
        open_bundle(folder, SETTINGS)


def test_foreign_files_are_refused(folder, tmp_path):
    (folder / "core.yaml").write_text("icl_tasks: 3", encoding="utf-8")
    with pytest.raises(BadInput, match=r"needs icl_tasks, a list of tasks"):
        open_bundle(folder, SETTINGS)
    (folder / "core.yaml").write_bytes(b"\xff")
    with pytest.raises(BadInput, match=r"core\.yaml is not UTF-8 text"):
        open_bundle(folder, SETTINGS)
    (folder / "core.yaml").unlink()
    with pytest.raises(BadInput, match=r"holds no core\.yaml"):
        open_bundle(folder, SETTINGS)


def test_damaged_zip_is_refused(folder, tmp_path):
    path = zip_bundle(folder, tmp_path / "b.zip")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(BadInput, match=r"b\.zip: not a whole zip file"):
        open_bundle(path, SETTINGS)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        member = archive.getinfo("eval_bundle/core.yaml")
    inside = member.header_offset + 30 + len(member.filename) + member.compress_size // 2
    path.write_bytes(content[:inside] + bytes([content[inside] ^ 1]) + content[inside + 1 :])
    with pytest.raises(BadInput, match=r"b\.zip: not a whole zip file .*delete it and download it again"):
        open_bundle(path, SETTINGS)


def test_path_that_is_not_there(tmp_path):
    with pytest.raises(BadInput, match=r"data\.roots\.core-bundle = '.*none': no such folder or zip file; set data\."):
        find_bundle(str(tmp_path / "none"), SETTINGS, tmp_path)


@pytest.mark.parametrize(
    ("place", "shown"), [(None, "null"), ("http://127.0.0.1:9/other.zip", "'http://127.0.0.1:9/other.zip'")]
)
def test_no_network_says_in_one_line_what_to_set(tmp_path, place, shown):
    with pytest.raises(BadInput) as caught:
        find_bundle(place, SETTINGS, tmp_path)
    message = str(caught.value)
    assert message.startswith(f"data.roots.core-bundle: {shown}, and http://127.0.0.1:9/")
    assert "cannot be downloaded" in message
    assert message.endswith("set data.roots.core-bundle to the folder or zip of the published bundle")
    assert "\n" not in message
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


@pytest.fixture
def server(tmp_path):
    """A web server of tmp_path/web; yields its address and the paths that were asked for."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            asked.append(self.path)

    (tmp_path / "web").mkdir()
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=tmp_path / "web")
    ) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}", asked
        running.shutdown()


def test_url_is_downloaded_once(folder, tmp_path, server):
    url, asked = server
    zip_bundle(folder, tmp_path / "web/eval_bundle.zip")
    paths = {find_bundle(f"{url}/eval_bundle.zip", SETTINGS, tmp_path / "data") for _ in range(2)}
    assert asked == ["/eval_bundle.zip"]
    (path,) = paths
    assert path.is_relative_to(tmp_path / "data/core")
    assert open_bundle(path, SETTINGS) == open_bundle(folder, SETTINGS)


def test_page_that_is_no_zip_leaves_nothing_behind(tmp_path, server):
    url, _ = server
    (tmp_path / "web/page.zip").write_text("moved", encoding="utf-8")
    with pytest.raises(BadInput, match=r"cannot be downloaded \(what it sends is no zip file\)"):
        find_bundle(f"{url}/page.zip", SETTINGS, tmp_path / "data")
    assert not any(path.is_file() for path in (tmp_path / "data").rglob("*"))


def test_project_settings_hold_the_22_tasks_with_origins():
    settings = core_settings(ROOT)
    assert len(set(settings.tasks)) == 22
    content = yaml.safe_load((ROOT / "config/core.yaml").read_text(encoding="utf-8"))
    assert all(entry["origin"] for entry in content.values())


def test_core_runs_where_a_bundle_is_set_or_the_scale_asks(folder):
    settings = core_settings(ROOT)
    smoke = load_project(ROOT, {"scale": "smoke"})
    assert core_runs(smoke, settings) == ()
    with_bundle = load_project(ROOT, {"scale": "smoke", "data": {"roots": {"core-bundle": str(folder)}}})
    scored = core_runs(with_bundle, settings)
    assert {run.paper for run in scored} == {"expert-threshold"}
    language = [run for run in with_bundle.runs if run.paper == "expert-threshold" and run.config.ecology is None]
    assert list(scored) == language
    assert core_runs(load_project(ROOT, {"scale": "paper"}), settings)


def test_project_refuses_a_bundle_that_is_not_there(tmp_path):
    roots = {"core-bundle": str(tmp_path / "none.zip")}
    with pytest.raises(BadInput, match=r"data\.roots\.core-bundle = .*no such folder or zip file; give one, a URL"):
        load_project(ROOT, {"data": {"roots": roots}})
    roots = {"core-bundle": "https://example.org/eval_bundle.zip"}
    assert load_project(ROOT, {"data": {"roots": roots}}).roots["core-bundle"] == roots["core-bundle"]
