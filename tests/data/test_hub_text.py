from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_replication.data.docstrings import text_digest
from moe_replication.data.hub_text import hub_source, read_articles
from moe_replication.data.prepare import prepare_tokens
from moe_replication.data.shards import TokenShards
from moe_replication.errors import BadInput

LINES = [
    "",
    " = Expert routing = \n",
    "",
    " A router sends tokens to experts . \n",
    " = not a title , no blank line before = \n",
    "",
    " = = History = = \n",
    "",
    " It is old . \n",
    "",
    " = Thresholds = \n",
    "",
    " Cutoffs adapt . \n",
]
ARTICLES = [
    "= Expert routing = \n\n A router sends tokens to experts . \n = not a title , no blank line before = "
    "\n\n = = History = = \n\n It is old .",
    "= Thresholds = \n\n Cutoffs adapt .",
]
LETTERS = np.random.default_rng(0).choice(list("abcdefghij"), size=(900, 30, 3))
PAGES = [f"page {n} says " + " ".join(map("".join, row)) for n, row in enumerate(LETTERS)]
WIKITEXT = "b08601e04326c79dfdd32d625aee71d232d685c3"
FINEWEB_EDU = "87f09149ef4734204d70ed1d046ddc9ca3f2b8f9"
TOKENS = {"vocab_size": 512, "tokenizer_megabytes": 0.02, "train_tokens": 3000, "validation_tokens": 100}


def write_lines(root, configuration="wikitext-2-raw-v1", train=LINES, validation=LINES):
    """A copy in the layout of Salesforce/wikitext, train in two files that part an article."""
    folder = root / configuration
    folder.mkdir(parents=True)
    for index, part in enumerate((train[:5], train[5:])):
        pq.write_table(pa.table({"text": part}), folder / f"train-{index:05d}-of-00002.parquet")
    pq.write_table(pa.table({"text": validation}), folder / "validation-00000-of-00001.parquet")
    return root


def write_pages(root, pages=PAGES):
    """A copy in the layout of HuggingFaceFW/fineweb-edu: three files with row groups of 20."""
    folder = root / "sample" / "100BT"
    folder.mkdir(parents=True)
    size = -(-len(pages) // 3)
    for index in range(3):
        part = pages[index * size : (index + 1) * size]
        rows = pa.table({"text": part, "id": [f"<{text[:9]}>" for text in part]})
        pq.write_table(rows, folder / f"{index:03d}_00000.parquet", row_group_size=20)
    return root


def at(revision):
    """Options of `load_dataset`."""
    return {"revision": revision, "streaming": True}


def texts(source, split) -> list[str]:
    return [text for batch in source.batches(split) for text in batch["text"]]


def test_articles_begin_at_titles():
    assert [article for article in read_articles(LINES) if article] == ARTICLES
    assert list(read_articles(["no title \n", "", " = T = \n"])) == ["no title", "= T ="]


@given(st.lists(st.sampled_from(["", " = T = \n", " = = S = = \n", " word \n"]), max_size=20))
def test_no_line_is_lost_and_no_article_has_two_titles(lines):
    articles = list(read_articles(lines))
    assert "\n".join(articles).split() == "".join(lines).split()
    for article in articles:
        assert "\n\n = T = " not in article


def test_wikitext_from_a_local_root(tmp_path):
    root = write_lines(tmp_path, validation=LINES[9:])
    # The other configurations of the repository lie beside it.
    write_lines(tmp_path, "wikitext-103-raw-v1", train=LINES[:9])
    source = hub_source("wikitext-2", {"wikitext-2": root})
    assert texts(source, "train") == ARTICLES
    assert texts(source, "validation") == ARTICLES[1:]
    (batch,) = source.batches("train")
    assert batch["doc_id"].to_list() == [text_digest(article)[:16] for article in ARTICLES]
    assert set(batch["package"]) == {"wikitext-2"}
    inner = hub_source("wikitext-103", {"wikitext-103": root / "wikitext-103-raw-v1"})
    assert texts(inner, "train") == ARTICLES[:1]


def test_web_pages_are_split_by_hash_and_shuffled_the_same_way_every_time(tmp_path):
    pages = [*PAGES, "  \n", PAGES[0]]
    source = hub_source("fineweb-edu", {"fineweb-edu": write_pages(tmp_path / "a", pages)})
    train, validation = texts(source, "train"), texts(source, "validation")
    assert sorted(train + validation) == sorted([*PAGES, PAGES[0]])
    assert not set(train) & set(validation)
    # 1 % of 900; four standard deviations are 12.
    assert 0 < len(validation) < 21
    assert train == texts(source, "train")
    moved = hub_source("fineweb-edu", {"fineweb-edu": write_pages(tmp_path / "b", pages)})
    assert (texts(moved, "train"), moved.facts) == (train, source.facts)
    # The first hundred come from all over the set.
    where = [PAGES.index(text) for text in train[:100]]
    assert min(where) < 300
    assert max(where) > 600


def test_streamed_set_becomes_shards(tmp_path):
    roots = {"fineweb-edu": write_pages(tmp_path / "root")}
    manifest = prepare_tokens(tmp_path / "a", "fineweb-edu", TOKENS, tmp_path / "no corpus", roots)
    shards = TokenShards.open(tmp_path / "a", verify=True)
    assert (len(shards.split("train")), len(shards.split("validation"))) == (3000, 100)
    assert manifest["source"]["validation_percent"] == 1.0
    assert str(tmp_path) not in str(manifest)
    assert (
        shards.documents("train")["doc_id"].to_list()
        == [text_digest(text)[:16] for text in texts(hub_source("fineweb-edu", roots), "train")][
            : manifest["splits"]["train"]["documents"]
        ]
    )
    assert not list((tmp_path / "a").glob("documents.parquet"))
    prepare_tokens(tmp_path / "b", "fineweb-edu", TOKENS, tmp_path / "no corpus", roots)
    assert TokenShards.open(tmp_path / "b").sha256 == shards.sha256


def test_a_pass_reads_little_further_than_it_is_taken(monkeypatch):
    datasets = pytest.importorskip("datasets")
    read = []

    def rows():
        for number in range(20_000):
            read.append(number)
            yield {"text": f" = {number} = \n"}
            yield {"text": ""}

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.IterableDataset.from_generator(rows))
    source = hub_source("wikitext-103", {"wikitext-103": None})
    read.clear()
    assert next(source.batches("train"))["text"][0] == "= 0 ="
    assert 0 < len(read) <= 1000


def test_missing_and_incomplete_copies_say_what_to_set(tmp_path):
    with pytest.raises(BadInput, match=r"data\.roots\.wikitext-2: .*nowhere is no folder; set .* null for"):
        hub_source("wikitext-2", {"wikitext-2": tmp_path / "nowhere"})
    with pytest.raises(BadInput, match=r"holds no \*\.parquet; .*layout of HuggingFaceFW/fineweb-edu"):
        hub_source("fineweb-edu", {"fineweb-edu": tmp_path})
    (write_lines(tmp_path) / "wikitext-2-raw-v1" / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(BadInput, match=r"holds 1 of 2 files train-\*\.parquet"):
        hub_source("wikitext-2", {"wikitext-2": tmp_path})


def test_foreign_and_damaged_files_are_named(tmp_path):
    file = write_pages(tmp_path) / "sample" / "100BT" / "001_00000.parquet"
    content = file.read_bytes()
    file.write_bytes(content[:-9])
    with pytest.raises(BadInput, match=r"001_00000\.parquet: not a readable parquet file"):
        hub_source("fineweb-edu", {"fineweb-edu": tmp_path})
    # The footer is whole, the pages are not.
    file.write_bytes(content[:4] + bytes(len(content) // 2) + content[4 + len(content) // 2 :])
    source = hub_source("fineweb-edu", {"fineweb-edu": tmp_path})
    with pytest.raises(BadInput, match=r"001_00000\.parquet: not a readable parquet file") as caught:
        texts(source, "train")
    assert "\n" not in str(caught.value)
    pq.write_table(pa.table({"content": PAGES}), file)
    with pytest.raises(BadInput, match=r"001_00000\.parquet: lacks column 'text', has \['content'\]"):
        hub_source("fineweb-edu", {"fineweb-edu": tmp_path})


def test_no_network_fails_at_once_and_says_what_to_set(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    # Nothing listens on the discard port.
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    for name, folder in (("wikitext-103", "wikitext-103-raw-v1"), ("fineweb-edu", "sample/100BT")):
        with pytest.raises(
            BadInput, match=rf"cannot be reached .*set data\.roots\.{name} to .* holds {folder}/"
        ) as caught:
            prepare_tokens(tmp_path / "out", name, TOKENS, tmp_path, {name: None})
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_hub_gives_the_same_as_a_local_copy(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    load = datasets.load_dataset
    asked = []

    def load_dataset(repository, configuration=None, *, split, **options):
        if repository == "parquet":
            return load(repository, split=split, **options)
        asked.append((repository, configuration, split, options))
        folder = tmp_path / {"sample-100BT": "sample/100BT"}.get(configuration, configuration)
        pattern = "*.parquet" if configuration == "sample-100BT" else f"{split}-*.parquet"
        return load("parquet", data_files={split: str(folder / pattern)}, split=split, **options)

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    write_pages(write_lines(tmp_path))
    for name in ("wikitext-2", "fineweb-edu"):
        hub, local = hub_source(name, {name: None}), hub_source(name, {name: tmp_path})
        assert texts(hub, "train") == texts(local, "train")
        assert texts(hub, "validation") == texts(local, "validation")
        assert hub.facts == local.facts
    assert asked == [
        ("Salesforce/wikitext", "wikitext-2-raw-v1", "train", at(WIKITEXT)),
        ("Salesforce/wikitext", "wikitext-2-raw-v1", "validation", at(WIKITEXT)),
        ("HuggingFaceFW/fineweb-edu", "sample-100BT", "train", at(FINEWEB_EDU)),
    ]


def test_lost_connection_is_one_line_with_the_remedy(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")

    def rows():
        yield {"text": " = T = \n"}
        raise ConnectionError("connection\nreset")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.IterableDataset.from_generator(rows))
    source = hub_source("wikitext-2", {"wikitext-2": None})
    with pytest.raises(
        BadInput,
        match=r"^data\.roots\.wikitext-2: reading Salesforce/wikitext stopped \(connection reset\); run the same "
        r"command again, .*, or set data\.roots\.wikitext-2 to a local folder that holds wikitext-2-raw-v1/\*.parquet$",
    ):
        texts(source, "train")
