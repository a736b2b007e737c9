"""Token shards being written; an interrupted split goes on after its last whole shard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import Progress
from tokenizers import Tokenizer

from moe_replication.data.encode import bytes_of_ids, encode_documents
from moe_replication.data.manifest import file_entry, ids_sha256
from moe_replication.data.shards import DTYPE
from moe_replication.errors import BadInput
from moe_replication.files import atomic_path, write_json

_INDEX = pa.schema(
    {"doc_id": pa.string(), "start": pa.int64(), "tokens": pa.int64(), "domain": pa.string(), "package": pa.string()}
)


class OtherDocuments(Exception):
    """The source gives other documents than those that the whole shards were made from."""


@dataclass(frozen=True, kw_only=True)
class WholeShard:
    """A whole shard, the part of the index with the documents that end in it, and counts up to its end.

    `documents` is also the position in the source. Their `document_tokens` fall short of the tokens in the shards
    where a document goes on in the next one; `text_bytes` counts all tokens in the shards.
    """

    shard: dict
    index: dict
    documents: int
    document_tokens: int
    text_bytes: int


def write_split(
    folder: Path | str,
    split: str,
    batches: Iterable[pl.DataFrame],
    tokenizer: Tokenizer,
    *,
    max_tokens: int | None,
    shard_tokens: int,
    workers: int = 1,
    whole: list[WholeShard] | None = None,
    save: Callable[[], None] = lambda: None,
) -> dict:
    """Encode documents in the given order up to `max_tokens` (None = all); write shards and their index.

    `batches` are frames with columns doc_id, domain, package, text; how far they are read ahead is in
    `encode_documents`. Every document begins with `<|bos|>`, which counts as a token; the last one is cut at the
    limit. Shards hold `shard_tokens` tokens, the last one the rest.

    `whole` are the shards that are there already; their documents are read again, but not encoded. OtherDocuments
    when they differ. Every further one is appended and `save` called. Returns the manifest's entry for the split,
    which interruptions do not change; BadInput when there is no document.
    """
    folder, whole = Path(folder), [] if whole is None else whole
    parts = [folder / item.index["file"] for item in whole]
    kept = {*parts, *(folder / item.shard["file"] for item in whole)}
    for stale in {*folder.glob(f"{split}-*.bin"), *folder.glob(f"documents-{split}*.parquet")} - kept:
        stale.unlink()
    writer = _Writer(folder, split, bytes_of_ids(tokenizer), shard_tokens, whole, save)
    console = Console()
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(f"encode {split}", total=max_tokens, completed=writer.tokens)
        rest = _after(batches, parts)
        with closing(encode_documents(tokenizer, rest, workers)) as encoded:
            while writer.tokens != max_tokens and (chunk := next(encoded, None)) is not None:
                writer.add(*chunk, max_tokens)
                progress.update(task, completed=writer.tokens)
    if not writer.tokens:
        raise BadInput(f"{folder}: the {split} split has no document; give a larger set")
    return {"max_tokens": max_tokens, **writer.finish()}


def write_manifest(folder: Path | str, splits: dict[str, dict], **facts: object) -> dict:
    """Write manifest.json, which makes the folder complete; `facts` must hold vocab_size."""
    manifest = {"format": 1, "dtype": "uint16", "splits": splits, **facts}
    write_json(Path(folder) / "manifest.json", manifest)
    return manifest


def index_parts(folder: Path, split: str = "*") -> list[Path]:
    """Parts of the document index, which are of use until the manifest is written."""
    return sorted(folder.glob(f"documents-{split}-[0-9]*.parquet"))


class _Writer:
    """Collects tokens; writes a shard and its part of the index whenever one is whole."""

    def __init__(
        self,
        folder: Path,
        split: str,
        id_bytes: np.ndarray,
        shard_tokens: int,
        whole: list[WholeShard],
        save: Callable[[], None],
    ) -> None:
        self._folder, self._split, self._id_bytes, self._shard_tokens = folder, split, id_bytes, shard_tokens
        self._whole, self._save = whole, save
        self.tokens = shard_tokens * len(whole)
        self._documents, self._position, self._text_bytes = 0, 0, 0
        if whole:
            last = whole[-1]
            self._documents, self._position, self._text_bytes = last.documents, last.document_tokens, last.text_bytes
        self._rows: list[dict] = []
        self._waiting: list[np.ndarray] = []
        self._waiting_tokens = 0

    def add(self, documents: pl.DataFrame, ids: list[np.ndarray], max_tokens: int | None) -> None:
        """Take documents with their ids, up to `max_tokens` of the split in all."""
        for row, tokens in zip(documents.select("doc_id", "domain", "package").iter_rows(named=True), ids, strict=True):
            if self.tokens == max_tokens:
                return
            # What of the document is not yet in a shard: all of it but for the first one after an interruption.
            end = self._position + len(tokens) if max_tokens is None else min(self._position + len(tokens), max_tokens)
            new = tokens[self.tokens - self._position : end - self._position]
            self._rows.append({**row, "start": self._position, "tokens": end - self._position})
            self._position = self.tokens = end
            self._text_bytes += int(self._id_bytes[new].sum())
            self._waiting.append(new)
            self._waiting_tokens += len(new)
            while self._waiting_tokens >= self._shard_tokens:
                self._write_whole()

    def finish(self) -> dict:
        """Write the rest and the index; returns what the manifest says of them."""
        shards = [item.shard for item in self._whole]
        if self._waiting_tokens:
            shards.append(self._write_shard(self._waiting_tokens))
            self._write_part(self._rows)
        parts = index_parts(self._folder, self._split)
        path = self._folder / f"documents-{self._split}.parquet"
        with atomic_path(path) as temporary, pq.ParquetWriter(temporary, _INDEX, compression="zstd") as index:
            for part in parts:
                index.write_table(pq.read_table(part))
        return {
            "tokens": self.tokens,
            "documents": self._documents,
            "doc_ids_sha256": ids_sha256(_doc_ids(parts)),
            "text_bytes": self._text_bytes,
            "bytes_per_token": self._text_bytes / self.tokens,
            "shards": shards,
            "index": file_entry(path),
        }

    def _write_whole(self) -> None:
        shard = self._write_shard(self._shard_tokens)
        end = self._shard_tokens * (len(self._whole) + 1)
        ended = [row for row in self._rows if row["start"] + row["tokens"] <= end]
        index = self._write_part(ended)
        self._rows = self._rows[len(ended) :]
        self._whole.append(
            WholeShard(
                shard=shard,
                index=index,
                documents=self._documents,
                document_tokens=self._rows[0]["start"] if self._rows else end,
                text_bytes=self._text_bytes - sum(int(self._id_bytes[part].sum()) for part in self._waiting),
            )
        )
        self._save()

    def _write_shard(self, count: int) -> dict:
        tokens = np.concatenate(self._waiting).astype(DTYPE, copy=False)
        path = self._folder / f"{self._split}-{len(self._whole):05d}.bin"
        with atomic_path(path) as temporary:
            tokens[:count].tofile(temporary)
        self._waiting = [tokens[count:]]
        self._waiting_tokens = len(tokens) - count
        return {**file_entry(path), "tokens": count}

    def _write_part(self, rows: list[dict]) -> dict:
        path = self._folder / f"documents-{self._split}-{len(self._whole):05d}.parquet"
        with atomic_path(path) as temporary:
            pq.write_table(pa.Table.from_pylist(rows, schema=_INDEX), temporary, compression="zstd")
        self._documents += len(rows)
        return file_entry(path)


def _after(batches: Iterable[pl.DataFrame], parts: list[Path]) -> Iterator[pl.DataFrame]:
    """Batches without the documents of the index `parts`, which must come first."""
    known = _doc_ids(parts)
    following = next(known, None)
    for batch in batches:
        passed = 0
        for doc_id in batch["doc_id"] if following is not None else ():
            if following is None:
                break
            if doc_id != following:
                raise OtherDocuments
            passed += 1
            following = next(known, None)
        if passed < batch.height:
            yield batch.slice(passed)
    if following is not None:
        raise OtherDocuments


def _doc_ids(parts: list[Path]) -> Iterator[str]:
    for part in parts:
        yield from pq.read_table(part, columns=["doc_id"])["doc_id"].to_pylist()
