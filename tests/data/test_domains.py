from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
import yaml

from moe_replication.data.corpus import CorpusSettings, build_corpus, read_documents
from moe_replication.data.docstrings import text_digest
from moe_replication.data.manifest import ids_sha256
from moe_replication.data.prepare import prepare_domains
from moe_replication.errors import BadInput
from moe_replication.files import read_json, sha256_file

REPOSITORY = Path(__file__).parents[2]
RULES = yaml.safe_load((REPOSITORY / "config" / "corpora" / "domains.yaml").read_text(encoding="utf-8"))
HUMANEVAL = pl.DataFrame(
    {
        "task_id": ["HumanEval/0", "HumanEval/1"],
        "prompt": ['def add(a, b):\n    """Sum."""\n', "def one():\n"],
        "canonical_solution": ["    return a + b\n", "    return 1\n"],
        "test": ["def check(f): ...", "def check(f): ..."],
        "entry_point": ["add", "one"],
    }
)
GSM8K = pl.DataFrame({"question": ["What is 2 + 3?"], "answer": ["2 + 3 = <<2+3=5>>5\n#### 5"]})


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Two packages with prose, code and formulas, half of the documents held out."""
    site, folder = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("corpus")
    for package in ("sympy_like", "plain"):
        (site / package).mkdir()
        for number in range(40):
            formula = rf"The mean is :math:`\\mu_{number}`." if number % 2 else f"The mean of {number}."
            text = f'"""{package} {number}. {formula}\n\n>>> mean({number})\n{number}\n"""\n'
            (site / package / f"m{number:02d}.py").write_text(text)
    settings = CorpusSettings(
        packages=["sympy_like", "plain"], minimum_characters=5, maximum_characters=1000, validation_percent=50
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setattr("importlib.metadata.packages_distributions", dict)
        build_corpus(folder, settings)
    return folder


def rules(**math):
    chosen = {**RULES["math"], "paths": ["sympy_like/"], **math}
    return {"code": RULES["code"], "math": chosen}


def write_public(root, *, name="test-00000-of-00001.parquet"):
    roots = {}
    for key, folder, table in (("humaneval", "openai_humaneval", HUMANEVAL), ("gsm8k", "main", GSM8K)):
        (root / key / folder).mkdir(parents=True)
        table.write_parquet(root / key / folder / name)
        roots[key] = root / key
    # The other split and configuration of the repository.
    GSM8K.with_columns(question=pl.lit("train")).write_parquet(root / "gsm8k/main/train-00000-of-00001.parquet")
    return roots


def test_embedded_domains_are_held_out_code_and_formulas(tmp_path, corpus):
    manifest = prepare_domains(tmp_path, "embedded", rules(), corpus, {})
    table = pl.read_parquet(tmp_path / "documents.parquet")
    assert table.columns == ["domain", "doc_id", "text"]
    documents = read_documents(corpus).filter(split="validation").sort("doc_id")
    code = documents.filter(domain="code")
    assert table.filter(domain="code")["doc_id"].to_list() == code["doc_id"].to_list()
    assert all(">>> mean(" in text for text in table.filter(domain="code")["text"])
    prose = documents.filter(pl.col("domain") == "prose", pl.col("path").str.starts_with("sympy_like/"))
    wanted = prose.filter(pl.col("text").str.contains(":math:", literal=True))
    assert 0 < wanted.height < prose.height
    assert table.filter(domain="math")["doc_id"].to_list() == wanted["doc_id"].to_list()
    assert manifest["domains"]["math"] == {
        "documents": wanted.height,
        "bytes": wanted["text"].str.len_bytes().sum(),
        "doc_ids_sha256": ids_sha256(wanted["doc_id"]),
    }
    assert manifest["file"]["sha256"] == sha256_file(tmp_path / "documents.parquet")
    assert manifest["source"]["corpus_sha256"] == read_json(corpus / "manifest.json")["content_sha256"]
    assert read_json(tmp_path / "manifest.json") == manifest


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("Defined by\n\n.. math:: x = y", True),
        ("The rate :math:`r` falls.", True),
        (r"Bounded by \frac{1}{2} always.", True),
        ("Here $x^2$ is a square.", True),
        ("It costs $5.\nAnd $6.", False),
        (r"A path like C:\x or a \n escape.", False),
        ("Prose about mathematics.", False),
    ],
)
def test_shipped_rule_for_mathematical_notation(text, holds):
    assert bool(re.search(RULES["math"]["pattern"], text)) == holds


def test_public_domains_from_local_copies(tmp_path):
    manifest = prepare_domains(tmp_path / "out", "public", RULES, tmp_path, write_public(tmp_path))
    table = pl.read_parquet(tmp_path / "out" / "documents.parquet")
    texts = [
        'def add(a, b):\n    """Sum."""\n    return a + b\n',
        "def one():\n    return 1\n",
        "What is 2 + 3?\n2 + 3 = <<2+3=5>>5\n#### 5",
    ]
    assert table["text"].to_list() == texts
    assert table["domain"].to_list() == ["code", "code", "math"]
    assert table["doc_id"].to_list() == [text_digest(text)[:16] for text in texts]
    assert [part["documents"] for part in manifest["domains"].values()] == [2, 1]
    assert manifest["source"]["math"]["repository"] == "openai/gsm8k"
    assert str(tmp_path) not in str(manifest)


def test_public_domains_from_the_hub(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    asked = []

    def load_dataset(repository, configuration, revision, split):
        asked.append((repository, configuration, revision, split))
        return datasets.Dataset.from_polars(HUMANEVAL if "humaneval" in repository else GSM8K)

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    hub = prepare_domains(tmp_path / "hub", "public", RULES, tmp_path, {"humaneval": None, "gsm8k": None})
    assert asked == [
        ("openai/openai_humaneval", "openai_humaneval", "7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544", "test"),
        ("openai/gsm8k", "main", "e53f048856ff4f594e959d75785d2c2d37b678ee", "test"),
    ]
    assert hub == prepare_domains(tmp_path / "local", "public", RULES, tmp_path, write_public(tmp_path))


def test_missing_network_and_copies_say_what_to_set(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    # Nothing listens on the discard port.
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        BadInput, match=r"cannot be reached .*set data\.roots\.humaneval to .* holds openai_humaneval/\*\.parquet"
    ):
        prepare_domains(tmp_path / "out", "public", RULES, tmp_path, {})
    roots = write_public(tmp_path)
    with pytest.raises(BadInput, match=r"data\.roots\.gsm8k: null, .*set data\.roots\.gsm8k to .* holds main/"):
        prepare_domains(tmp_path / "out", "public", RULES, tmp_path, {**roots, "gsm8k": None})
    file = tmp_path / "gsm8k/main/test-00000-of-00001.parquet"
    GSM8K.with_columns(answer=pl.lit(None, pl.String)).write_parquet(file)
    with pytest.raises(BadInput, match=r"data\.roots\.gsm8k: column 'answer' must be text without gaps"):
        prepare_domains(tmp_path / "out", "public", RULES, tmp_path, roots)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(BadInput, match=r"test-00000-of-00001\.parquet: not a readable parquet file"):
        prepare_domains(tmp_path / "out", "public", RULES, tmp_path, roots)
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (rules(paths=["nowhere/"]), "domains embedded: no document of domain math; loosen its rule"),
        (rules(kind="poetry"), r"domains\.kind: 'poetry' is none of"),
        (rules(pattern="("), r"domains\.pattern: '\(' is no regular expression"),
        (rules(path="x"), r"domains\.math\.path: unknown key"),
        ({"code": RULES["code"]}, "rules are needed for code and math"),
    ],
)
def test_bad_rules(tmp_path, corpus, chosen, message):
    with pytest.raises(BadInput, match=message):
        prepare_domains(tmp_path, "embedded", chosen, corpus, {})
    assert not (tmp_path / "manifest.json").exists()


def test_unknown_set(tmp_path):
    with pytest.raises(BadInput, match="'private' is no set of probe texts; choose one of embedded, public"):
        prepare_domains(tmp_path, "private", RULES, tmp_path, {})


def test_shipped_rules_state_their_origin():
    assert set(RULES) == {"code", "math"}
    assert all(set(rule) == {"kind", "paths", "pattern", "origin"} for rule in RULES.values())
