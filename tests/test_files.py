"""Small files are whole or absent."""

from __future__ import annotations

import pytest

from moe_replication.errors import BadInput
from moe_replication.files import atomic_path, read_json, sha256_json, write_json


def test_failed_write_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"x": 1})
    with pytest.raises(RuntimeError, match="disk"), atomic_path(path) as temporary:  # noqa: PT012
        temporary.write_text("half", encoding="utf-8")
        raise RuntimeError("disk")
    assert read_json(path) == {"x": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_numbers_that_json_lacks_become_null(tmp_path):
    write_json(tmp_path / "a.json", {"a": float("nan"), "b": [float("inf"), 1.5], "c": ()})
    assert read_json(tmp_path / "a.json") == {"a": None, "b": [None, 1.5], "c": []}


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), ('{"a": 1', "not valid JSON"), ("[1]", "expected a JSON object, found list")],
)
def test_unreadable_json_is_named(tmp_path, content, message):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(BadInput, match=rf"a\.json: {message}"):
        read_json(path)


def test_hash_does_not_depend_on_key_order():
    assert sha256_json({"a": 1, "b": [2]}) == sha256_json({"b": [2], "a": 1})
