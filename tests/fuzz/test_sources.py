"""Foreign copies of data sets and the corpus's settings: `prepare` refuses them with exit code 2, before it writes."""

from __future__ import annotations

import dataclasses
import io
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fuzzing import Ledger, command, damaged, damages, drawn, fuzz_bytes, fuzz_tree, restored, small_project
from moe_replication.data.corpus import CorpusSettings, build_corpus
from moe_replication.data.hub_images import HUB_SETS

pytestmark = pytest.mark.slow
WORDS = np.random.default_rng(0).choice(list("abcdefghij"), size=(80, 12, 4))
LINES = [text for n, row in enumerate(WORDS) for text in ("", f" = T{n} = \n", "", " ".join(map("".join, row)) + " \n")]
# A column that should hold something else, row for row.
ODD = {
    "whole": lambda n: pa.array(range(n)),
    "real": lambda n: pa.array([0.5] * n),
    "list": lambda n: pa.array([["a"]] * n),
    "bytes": lambda n: pa.array([b"\xff\x00"] * n),
    "flag": lambda n: pa.array([True] * n),
    "struct": lambda n: pa.array([{"bytes": 1}] * n),
    "date": lambda n: pa.array([0] * n, pa.date32()),
    "nothing": lambda n: pa.nulls(n),
    "dictionary": lambda n: pa.array(["a"] * n).dictionary_encode(),
    "gaps": lambda n: pa.array([None] * n, pa.string()),
    "text": lambda n: pa.array(["x"] * n),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A small project; copies of sets lie in its `copies`."""
    return small_project(tmp_path_factory.mktemp("sources") / "project")


def prepared(root: Path, kind: str, name: str, **roots: str) -> str | None:
    """What `prepare` says; what it wrote, if it did, is removed."""
    places = [word for key, place in roots.items() for word in ("--set", f"data.roots.{key}={root / 'copies' / place}")]
    message = command(root, "prepare", kind, name, *places)
    if message is None:
        shutil.rmtree(root / "data" / kind)
    return message


def fuzz_parquet(path: Path, columns: tuple[str, ...], read, count: int) -> Ledger:
    """`read` after a column of a parquet file became another or went, or its bytes changed; the file is restored."""
    content, table, ledger = path.read_bytes(), pq.read_table(path), Ledger()
    changed = st.tuples(st.sampled_from(columns), st.sampled_from([*ODD, None]))

    @drawn(count)
    @given(st.one_of(changed, damages()))
    def check(case):
        if len(case) == 3:
            path.write_bytes(damaged(content, case))
        else:
            column, kind = case
            place = table.schema.get_field_index(column)
            rest = table.remove_column(place)
            pq.write_table(rest if kind is None else rest.append_column(column, ODD[kind](table.num_rows)), path)
        ledger.note(case, read())

    with restored(path):
        check()
    return ledger


@pytest.mark.parametrize("part", [0, 1])
def test_a_damaged_copy_of_a_text_set_is_refused_or_harmless(root, part):
    folder = root / "copies/text/wikitext-2-raw-v1"
    folder.mkdir(parents=True, exist_ok=True)
    for number, lines in enumerate((LINES[:160], LINES[160:])):
        pq.write_table(pa.table({"text": lines}), folder / f"train-0000{number}-of-00002.parquet")
    pq.write_table(pa.table({"text": LINES[:80]}), folder / "validation-00000-of-00001.parquet")
    read = lambda: prepared(root, "tokens", "wikitext-2-512-0.02-300-50", **{"wikitext-2": "text"})  # noqa: E731
    assert read() is None
    fuzz_parquet(folder / f"train-0000{part}-of-00002.parquet", ("text",), read, 30).expect(14)


def picture(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (value, 0, 255)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_damaged_copy_of_an_image_set_is_refused_or_harmless(root, monkeypatch):
    monkeypatch.setitem(HUB_SETS, "cifar10", dataclasses.replace(HUB_SETS["cifar10"], sizes=(4, 2)))
    folder = root / "copies/images/plain_text"
    folder.mkdir(parents=True)
    contents = [{"bytes": picture(value), "path": None} for value in (0, 80, 160, 240)]
    for number, rows in enumerate((slice(0, 2), slice(2, 4))):
        table = pa.table({"img": contents[rows], "label": [3, 1]})
        pq.write_table(table, folder / f"train-0000{number}-of-00002.parquet")
    pq.write_table(pa.table({"img": contents[:2], "label": [0, 9]}), folder / "test-00000-of-00001.parquet")
    read = lambda: prepared(root, "images", "cifar10", cifar10="images")  # noqa: E731
    assert read() is None
    for name in ("train-00001-of-00002", "test-00000-of-00001"):
        fuzz_parquet(folder / f"{name}.parquet", ("img", "label"), read, 20).expect(10)


def test_a_damaged_copy_of_probe_texts_is_refused_or_harmless(root):
    for name, folder, columns in (
        ("humaneval", "openai_humaneval", ("prompt", "canonical_solution")),
        ("gsm8k", "main", ("question", "answer")),
    ):
        place = root / "copies" / name / folder
        place.mkdir(parents=True)
        for number in range(2):
            table = pa.table({column: [f"{column} {row}" for row in range(9)] for column in columns})
            pq.write_table(table, place / f"test-0000{number}-of-00002.parquet")
    read = lambda: prepared(root, "domains", "public", humaneval="humaneval", gsm8k="gsm8k")  # noqa: E731
    assert read() is None
    path = root / "copies/gsm8k/main/test-00001-of-00002.parquet"
    fuzz_parquet(path, ("question", "answer"), read, 30).expect(15)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A package with docstrings."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "made_up").mkdir()
    for number in range(20):
        text = f'"""Number {number}. The mean is :math:`\\\\mu_{number}`.\n\n>>> mean({number})\n{number}\n"""\n'
        (folder / "made_up" / f"m{number:02d}.py").write_text(text, encoding="utf-8")
    return folder


CORPUS = {"packages": ["made_up"], "minimum_characters": 5, "maximum_characters": 1000, "validation_percent": 50}


@pytest.fixture
def importable(site, monkeypatch):
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr("importlib.metadata.packages_distributions", dict)


def test_changed_settings_of_the_corpus_are_refused_or_harmless(root, importable):
    path, out = root / "config/corpora/embedded.yaml", root / "made"
    path.write_text(yaml.safe_dump(CORPUS | {"origin": {"packages": "ours"}}), encoding="utf-8")

    def read() -> str | None:
        message = command(root, "prepare", "corpus", "--out", str(out))
        shutil.rmtree(out, ignore_errors=True)
        return message

    assert read() is None
    fuzz_tree(path, read, 90).expect(45)


@pytest.mark.parametrize("package", ["made_up../etc", "made_up./tmp", "made_up.", ".made_up", "a b", "made_up\n", "-x"])
def test_no_package_leads_out_of_the_installed_ones(root, importable, package):
    path = root / "config/corpora/embedded.yaml"
    path.write_text(yaml.safe_dump(CORPUS | {"packages": [package]}), encoding="utf-8")
    message = command(root, "prepare", "corpus", "--out", str(root / "made"))
    assert "config/corpora/embedded.yaml: packages.0 = " in message


def small_corpus(root: Path) -> Path:
    folder = root / "data/corpora/embedded"
    build_corpus(folder, CorpusSettings(**CORPUS))
    return folder


def test_changed_rules_of_probe_texts_are_refused_or_harmless(root, importable):
    small_corpus(root)
    path = root / "config/corpora/domains.yaml"
    rules = yaml.safe_load(path.read_text(encoding="utf-8"))
    rules["math"]["paths"] = ["made_up/"]
    path.write_text(yaml.safe_dump(rules), encoding="utf-8")
    read = lambda: prepared(root, "domains", "embedded")  # noqa: E731
    assert read() is None
    fuzz_tree(path, read, 30).expect(15)
    for pattern in ("(", "a{99999999999999}", "(" * 3000, "[", "*"):
        rules["math"]["pattern"] = pattern
        path.write_text(yaml.safe_dump(rules), encoding="utf-8")
        assert "domains.pattern" in read()


@pytest.mark.parametrize("name", ["documents.parquet", "manifest.json"])
def test_a_damaged_corpus_is_refused_or_harmless(root, importable, name):
    path = small_corpus(root) / name
    shutil.copy(Path(__file__).parents[2] / "config/corpora/domains.yaml", root / "config/corpora")
    rules = root / "config/corpora/domains.yaml"
    rules.write_text(rules.read_text(encoding="utf-8").replace("paths: [sympy/", "paths: [made_up/, sympy/"))
    ledger = fuzz_bytes(path, lambda: prepared(root, "domains", "embedded"), 15)
    ledger.expect(len(ledger.outcomes) if name == "documents.parquet" else 5)
