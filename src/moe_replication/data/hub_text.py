"""Public text sets, streamed from a local root or from the hub; no text is written aside."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from moe_replication.data.docstrings import text_digest
from moe_replication.data.hub import check_text, load_from_hub, local_files, one_line, root_remedy, unreadable
from moe_replication.data.sources import SPLITS, TextSource, hash_split
from moe_replication.errors import BadInput

if TYPE_CHECKING:
    import datasets

# A title has one equals sign on either side, section headings have more.
_TITLE = re.compile(r" = (?!= ).*(?<! =) = ")
_ROWS = 1000
_DOCUMENTS = 256


@dataclass(frozen=True, kw_only=True)
class HubText:
    """Where a set lives on the hub and how its rows become documents.

    `revision` is the commit that the hub is read at, and that a local copy is taken to be of. `folder` and
    `pattern` locate a split's files in the repository. `articles`: rows are lines, a document is the lines from one
    title to the next. `validation_percent`: the set has no validation split, so this share of its train documents,
    chosen by hash, is one. `shuffle_seed`: the order of documents is drawn with it.
    """

    repository: str
    revision: str
    configuration: str
    folder: str
    pattern: str
    domain: str
    articles: bool = False
    validation_percent: float | None = None
    shuffle_seed: int | None = None


def _wikitext(configuration: str) -> HubText:
    return HubText(
        repository="Salesforce/wikitext",
        # The commit in the checksums of datasets' own builds of the set.
        revision="b08601e04326c79dfdd32d625aee71d232d685c3",
        configuration=configuration,
        folder=configuration,
        pattern="{split}-*.parquet",
        domain="encyclopedia",
        articles=True,
    )


HUB_TEXTS = {
    "wikitext-2": _wikitext("wikitext-2-raw-v1"),
    "wikitext-103": _wikitext("wikitext-103-raw-v1"),
    "fineweb-edu": HubText(
        repository="HuggingFaceFW/fineweb-edu",
        # The commit that public projects on this set pin, for its 10BT and 100BT samples.
        revision="87f09149ef4734204d70ed1d046ddc9ca3f2b8f9",
        configuration="sample-100BT",
        folder="sample/100BT",
        pattern="*.parquet",
        domain="web",
        validation_percent=1.0,
        # The stored order need not be random, and only a part of the set is taken.
        shuffle_seed=0,
    ),
}


def hub_source(name: str, roots: Mapping[str, str | Path | None]) -> TextSource:
    """A set of HUB_TEXTS from roots[name] or, when that is None, from the hub.

    A pass reads as far as its batches are taken. BadInput for a missing root, missing or damaged files or
    columns, or no network. The facts are those of the set, not of the place it is read from.
    """
    spec = HUB_TEXTS[name]
    stored = SPLITS if spec.validation_percent is None else SPLITS[:1]
    passes = {split: _open(name, spec, roots.get(name), split) for split in stored}

    def batches(split: str) -> Iterator[pl.DataFrame]:
        texts = passes.get(split, passes["train"])()
        return _frames(name, spec, read_articles(texts) if spec.articles else texts, split)

    order = "as stored"
    if spec.shuffle_seed is not None:
        order = f"row groups, then rows among their neighbours, drawn with seed {spec.shuffle_seed}"
    facts = {
        "name": name,
        "repository": spec.repository,
        "revision": spec.revision,
        "configuration": spec.configuration,
        "validation_percent": spec.validation_percent,
        "order": order,
    }
    return TextSource(facts=facts, batches=batches)


def read_articles(lines: Iterable[str]) -> Iterator[str]:
    """Join WikiText lines (blank ones may lack their newline) into articles, one per ` = Title = ` line.

    A title follows a blank line or begins the set; lines before the first one form a document of their own.
    """
    article: list[str] = []
    after_blank = True
    for line in lines:
        line = line.rstrip("\n")
        if after_blank and _TITLE.fullmatch(line):
            yield "\n".join(article).strip()
            article = []
        article.append(line)
        after_blank = not line.strip()
    yield "\n".join(article).strip()


def _open(name: str, spec: HubText, root: str | Path | None, split: str) -> Callable[[], Iterator[str]]:
    """Passes over the texts of a stored split in the order of the spec; opening reads only footers."""
    files = [] if root is None else _files(name, spec, Path(root), split)
    with _reading(name, spec, files):
        rows = (_local_rows(files) if files else _hub_rows(name, spec, split)).select_columns("text")
        if spec.shuffle_seed is not None:
            # Interleaving row groups would end every pass with a sleep of five seconds.
            rows = rows.reshard().shuffle(seed=spec.shuffle_seed, max_buffer_input_shards=1)
        rows = rows.with_format("polars")

    def texts() -> Iterator[str]:
        with _reading(name, spec, files):
            for frame in rows.iter(_ROWS):
                column = frame["text"]
                if column.dtype not in (pl.String, pl.Null):
                    raise BadInput(
                        f"data.roots.{name}: column 'text' of {spec.repository} is {column.dtype}, it must be text;"
                        f" {root_remedy(name, spec.folder)}"
                    )
                # Damaged bytes that are no UTF-8 pass through Arrow and would end the tokenizer's process.
                yield from column.cast(pl.Binary).cast(pl.String).drop_nulls()

    return texts


def _files(name: str, spec: HubText, root: Path, split: str) -> list[Path]:
    files = local_files(
        name,
        root,
        repository=spec.repository,
        folder=spec.folder,
        pattern=spec.pattern.format(split=split),
        columns=("text",),
    )
    check_text(f"data.roots.{name}", files[0], ("text",), spec.repository)
    return files


def _local_rows(files: list[Path]) -> datasets.IterableDataset:
    import datasets

    data_files = {"train": [str(file) for file in files]}
    return datasets.load_dataset("parquet", data_files=data_files, split="train", streaming=True)


def _hub_rows(name: str, spec: HubText, split: str) -> datasets.IterableDataset:
    return load_from_hub(
        name,
        repository=spec.repository,
        configuration=spec.configuration,
        revision=spec.revision,
        folder=spec.folder,
        split=split,
        streaming=True,
    )


@contextmanager
def _reading(name: str, spec: HubText, files: list[Path]) -> Iterator[None]:
    """Turn what damaged files and lost connections raise, types of several libraries, into BadInput."""
    try:
        yield
    except BadInput:
        raise
    except Exception as error:
        for file in files:
            try:
                for _ in pq.ParquetFile(file).iter_batches(columns=["text"]):
                    pass
            except (pa.ArrowException, OSError) as damage:
                raise unreadable(file, damage) from error
        remedy = f"or set data.roots.{name} to another local copy" if files else f"or {root_remedy(name, spec.folder)}"
        raise BadInput(
            f"data.roots.{name}: reading {'' if files else spec.repository + ' '}stopped ({one_line(error)}); "
            f"run the same command again, which goes on after the last whole shard, {remedy}"
        ) from error


def _frames(name: str, spec: HubText, texts: Iterable[str], split: str) -> Iterator[pl.DataFrame]:
    """Documents of a split in frames; blank ones are left out."""
    documents = ((text_digest(text), text) for text in texts if text.strip())
    if spec.validation_percent is not None:
        documents = (item for item in documents if hash_split(item[0], spec.validation_percent) == split)
    while batch := list(islice(documents, _DOCUMENTS)):
        yield pl.DataFrame(
            {
                "doc_id": [digest[:16] for digest, _ in batch],
                "domain": spec.domain,
                "package": name,
                "text": [text for _, text in batch],
            }
        )
