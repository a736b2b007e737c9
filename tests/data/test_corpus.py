from __future__ import annotations

import sys

import polars as pl
import pytest

from moe_replication.data.corpus import (
    CorpusSettings,
    build_corpus,
    find_sources,
    read_documents,
    select_documents,
)
from moe_replication.errors import BadInput
from moe_replication.files import read_json


def settings(**changes) -> CorpusSettings:
    values = {
        "packages": ("alpha",),
        "minimum_characters": 5,
        "maximum_characters": 1000,
        "validation_percent": 30.0,
    }
    return CorpusSettings(**{**values, **changes})


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Two importable packages: alpha with 90 files and a test folder, beta with one file."""
    root = tmp_path / "site"
    for name in ("alpha/sub", "alpha/tests", "beta"):
        (root / name).mkdir(parents=True)
    for index in range(90):
        (root / "alpha" / "sub" / f"m{index:02d}.py").write_text(f'"""Document {index}.\n\n>>> f({index})\n1\n"""')
    # Importing it would fail: packages are only read.
    (root / "alpha" / "__init__.py").write_text('"""The package."""\nraise RuntimeError\n')
    (root / "alpha" / "tests" / "test_x.py").write_text('"""A test, not documentation."""')
    (root / "alpha" / "broken.py").write_text('"""unclosed')
    (root / "beta" / "__init__.py").write_text('"""Document   0."""\nclass B:\n    """Only in beta."""\n')
    monkeypatch.syspath_prepend(str(root))
    # Reading the metadata of everything installed takes longer than the tests.
    monkeypatch.setattr("importlib.metadata.packages_distributions", dict)
    return root


def test_order_deduplication_and_counts(tmp_path, packages):
    manifest = build_corpus(tmp_path / "out", settings(packages=("alpha", "beta")))
    table = read_documents(tmp_path / "out")
    assert table.columns == ["doc_id", "package", "path", "domain", "split", "text"]
    assert table["text"].to_list()[:3] == ["The package.", "Document 0.", ">>> f(0)\n1"]
    assert table["path"].to_list()[:2] == ["alpha/__init__.py", "alpha/sub/m00.py"]
    # "Document   0." of beta repeats alpha's but for whitespace.
    assert table.filter(package="beta")["text"].to_list() == ["Only in beta."]
    assert table["doc_id"].is_unique().all()
    assert not table["text"].str.contains("A test").any()
    assert manifest["files_not_parsed"] == ["alpha/broken.py"]
    assert manifest["documents"] == table.height == 182
    assert manifest["by_domain"]["code"]["documents"] == 90
    assert manifest["characters"] == sum(len(text) for text in table["text"])


def test_same_for_any_number_of_workers(tmp_path, packages):
    one = build_corpus(tmp_path / "one", settings(), workers=1)
    two = build_corpus(tmp_path / "two", settings(), workers=2)
    assert one == two
    assert (tmp_path / "one" / "documents.parquet").read_bytes() == (
        tmp_path / "two" / "documents.parquet"
    ).read_bytes()


def test_split_of_a_document_does_not_depend_on_the_others(tmp_path, packages):
    build_corpus(tmp_path / "all", settings(packages=("alpha", "beta")))
    build_corpus(tmp_path / "some", settings(packages=("alpha.sub",)))
    splits = dict(read_documents(tmp_path / "all").select("doc_id", "split").iter_rows())
    some = dict(read_documents(tmp_path / "some").select("doc_id", "split").iter_rows())
    assert len(some) == 180
    assert all(splits[doc_id] == split for doc_id, split in some.items())
    # 30 % of 180; five standard deviations are 31.
    assert 54 - 31 < list(some.values()).count("validation") < 54 + 31


def test_selection_filters_and_orders_by_hash(tmp_path, packages):
    build_corpus(tmp_path, settings(packages=("alpha", "beta")))
    table = read_documents(tmp_path)
    train = select_documents(table, split="train", domain="code")
    assert set(train["domain"]) == {"code"}
    assert set(train["split"]) == {"train"}
    assert train["doc_id"].is_sorted()
    with pytest.raises(BadInput, match="maths"):
        select_documents(table, split="train", domain="maths")
    with pytest.raises(BadInput, match=r"no train document has domain code; add to corpus\.packages"):
        select_documents(table.filter(package="beta"), split="train", domain="code")


def test_standard_library_and_language_reference_are_found():
    paths = [source.path for source in find_sources("stdlib")]
    assert "json/decoder.py" in paths
    assert not any(path.startswith(("test/", "idlelib/")) or "/test/" in path for path in paths)
    assert len(paths) == len(set(paths))
    assert [source.path for source in find_sources("python-reference")] == ["pydoc_data/topics.py"]


def test_packages_are_not_imported(packages):
    assert len(find_sources("alpha")) == 92
    assert "alpha" not in sys.modules


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("no_such_package_here", "no_such_package_here.*not installed"),
        ("alpha.nowhere", "no folder nowhere in alpha"),
    ],
)
def test_missing_package_is_named(tmp_path, packages, entry, message):
    with pytest.raises(BadInput, match=message):
        build_corpus(tmp_path / "out", settings(packages=("alpha", entry)))
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"packages": ()}, "corpus.packages"),
        ({"packages": ("alpha", "alpha")}, "each package once"),
        ({"minimum_characters": 0}, "corpus.minimum_characters: 0"),
        ({"minimum_characters": 1001}, "1001.*1000"),
        ({"validation_percent": 0.0}, "corpus.validation_percent"),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(BadInput, match=message):
        settings(**changes)


def test_altered_or_missing_documents_are_named(tmp_path, packages):
    build_corpus(tmp_path / "out", settings())
    path = tmp_path / "out" / "documents.parquet"
    pl.read_parquet(path).head(3).write_parquet(path)
    with pytest.raises(BadInput, match=r"documents\.parquet: SHA-256"):
        read_documents(tmp_path / "out")
    path.unlink()
    with pytest.raises(BadInput, match=r"documents\.parquet: no such file"):
        read_documents(tmp_path / "out")
    (tmp_path / "out" / "manifest.json").unlink()
    with pytest.raises(BadInput, match=r"manifest\.json"):
        read_documents(tmp_path / "out")


def test_nothing_long_enough(tmp_path, packages):
    with pytest.raises(BadInput, match="minimum_characters"):
        build_corpus(tmp_path / "out", settings(minimum_characters=900))


def test_manifest_records_versions(tmp_path):
    manifest = build_corpus(tmp_path, settings(packages=("yaml", "python-reference"), maximum_characters=4000))
    assert manifest["versions"]["yaml"].count(".") >= 1
    assert manifest["versions"]["python-reference"] == ".".join(map(str, sys.version_info[:3]))
    assert read_json(tmp_path / "manifest.json")["content_sha256"] == manifest["content_sha256"]
    assert read_documents(tmp_path)["text"].str.len_chars().max() <= 4000
