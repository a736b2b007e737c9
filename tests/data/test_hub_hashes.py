"""Files of the hub against the hashes it publishes, with the hub's functions replaced."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import pytest

from moe_replication.data import hub
from moe_replication.errors import BadInput

huggingface_hub = pytest.importorskip("huggingface_hub")
PUBLISHED = {
    "plain_text/train-00000-of-00002.parquet": b"one",
    "plain_text/train-00001-of-00002.parquet": b"two",
    "plain_text/test-00000-of-00001.parquet": b"held out",
    "other/train-00000-of-00001.parquet": b"of another configuration",
}


@pytest.fixture
def asked(tmp_path, monkeypatch) -> list[str]:
    """A hub with PUBLISHED files and a README outside LFS; downloads land in `tmp_path`. What was asked for."""
    calls = []

    def list_repo_tree(_, repository, *, recursive, revision, repo_type):
        assert (repository, recursive, revision, repo_type) == ("a/b", True, "c0ffee", "dataset")
        for path, content in PUBLISHED.items():
            yield SimpleNamespace(path=path, lfs=SimpleNamespace(sha256=hashlib.sha256(content).hexdigest()))
        yield SimpleNamespace(path="plain_text/train-small.parquet", lfs=None)
        yield SimpleNamespace(path="plain_text")

    def hf_hub_download(repository, path, *, revision, repo_type):
        assert (repository, revision, repo_type) == ("a/b", "c0ffee", "dataset")
        calls.append(path)
        file = tmp_path / path.replace("/", "-")
        if not file.exists():
            file.write_bytes(PUBLISHED[path])
        return str(file)

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(hub, "_probe_hub", lambda key, remedy: None)
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_tree", list_repo_tree)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **options: calls.append("loaded") or "rows")
    return calls


def load(**options):
    place = {"repository": "a/b", "configuration": "plain", "revision": "c0ffee", "folder": "plain_text"}
    return hub.load_from_hub("set", **place, split="train", **options)


def test_files_of_the_split_are_compared_before_they_are_read(asked):
    assert load() == "rows"
    assert asked == [*list(PUBLISHED)[:2], "loaded"]


def test_a_file_with_another_hash_is_named_and_not_read(asked, tmp_path):
    (tmp_path / "plain_text-train-00001-of-00002.parquet").write_bytes(b"tw0")
    with pytest.raises(BadInput) as refused:
        load()
    message = str(refused.value)
    assert message.startswith("data.roots.set: ")
    assert "another SHA-256 than a/b publishes for plain_text/train-00001-of-00002.parquet; delete it" in message
    assert "loaded" not in asked


def test_streams_and_offline_reads_have_nothing_to_compare_with(asked, monkeypatch):
    load(streaming=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    load()
    assert asked == ["loaded", "loaded"]
