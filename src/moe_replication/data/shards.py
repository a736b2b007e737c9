"""Token shards: flat uint16 files, an index of their documents, and a manifest written last."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.progress import Progress
from tokenizers import Tokenizer

from moe_replication.data.manifest import check_file, file_entry
from moe_replication.data.tokenizer import BOS_ID, LARGEST_VOCABULARY, encode
from moe_replication.errors import BadInput
from moe_replication.files import atomic_path, read_json, sha256_json, write_json

DTYPE = np.dtype("<u2")
_BATCH = 64


def write_split(
    folder: Path | str,
    split: str,
    batches: Iterable[pl.DataFrame],
    tokenizer: Tokenizer,
    *,
    max_tokens: int | None,
    shard_tokens: int,
) -> dict:
    """Encode documents in the given order up to `max_tokens` (None = all); write shards and their index.

    `batches` are frames with columns doc_id, domain, package, text; none is asked for beyond the limit, and
    at most 64 documents are encoded in vain. Every document begins with `<|bos|>`, which counts as a token;
    the last one is cut at the limit. Shards hold `shard_tokens` tokens, the last one the rest. Returns the
    manifest's entry for the split; BadInput when there is no document.
    """
    folder = Path(folder)
    for stale in (*folder.glob(f"{split}-*.bin"), folder / f"documents-{split}.parquet"):
        stale.unlink(missing_ok=True)
    # Bytes of text behind every id: a byte-level token is spelled with one character a byte.
    id_bytes = np.array([len(tokenizer.id_to_token(index)) for index in range(tokenizer.get_vocab_size())])
    id_bytes[BOS_ID] = 0
    index: list[pl.DataFrame] = []
    text_bytes = 0
    writer = _ShardWriter(folder, split, shard_tokens)
    console = Console()
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(f"encode {split}", total=max_tokens)
        for part in (part for batch in batches for part in batch.iter_slices(_BATCH)):
            lengths = []
            for ids in encode(tokenizer, part["text"].to_list()):
                if max_tokens is not None:
                    ids = ids[: max_tokens - writer.tokens]
                if ids:
                    tokens = np.asarray(ids, DTYPE)
                    writer.add(tokens)
                    lengths.append(len(tokens))
                    text_bytes += int(id_bytes[tokens].sum())
            documents = part.head(len(lengths)).select("doc_id", "domain", "package")
            index.append(documents.with_columns(tokens=pl.Series(lengths, dtype=pl.Int64)))
            progress.update(task, completed=writer.tokens)
            if writer.tokens == max_tokens:
                break
    if not index:
        raise BadInput(f"{folder}: the {split} split has no document; give a larger set")
    files = writer.close()
    table = pl.concat(index, rechunk=True)
    return {
        "tokens": writer.tokens,
        "max_tokens": max_tokens,
        "documents": table.height,
        "text_bytes": text_bytes,
        "bytes_per_token": text_bytes / writer.tokens,
        "shards": files,
        "index": _write_index(folder / f"documents-{split}.parquet", table),
    }


def write_manifest(folder: Path | str, splits: dict[str, dict], **facts: object) -> dict:
    """Write manifest.json, which makes the folder complete; `facts` must hold vocab_size."""
    manifest = {"format": 1, "dtype": "uint16", "splits": splits, **facts}
    write_json(Path(folder) / "manifest.json", manifest)
    return manifest


@dataclass(frozen=True, kw_only=True)
class TokenShards:
    """A folder of token shards whose manifest and file sizes have been checked."""

    folder: Path
    manifest: dict

    @classmethod
    def open(cls, folder: Path | str, *, verify: bool = False) -> TokenShards:
        """Check manifest and sizes, with `verify` also hashes; BadInput names the file that is wrong."""
        folder = Path(folder)
        path = folder / "manifest.json"
        manifest = read_json(path)
        for key in ("format", "dtype", "splits", "vocab_size"):
            if key not in manifest:
                raise BadInput(f"{path}: lacks {key!r}; delete the folder and prepare the tokens again")
        if manifest["dtype"] != "uint16":
            raise BadInput(f"{path}: dtype {manifest['dtype']!r} is not uint16; prepare the tokens again")
        if not 0 < manifest["vocab_size"] <= LARGEST_VOCABULARY:
            raise BadInput(
                f"{path}: vocab_size {manifest['vocab_size']} does not fit uint16 (at most "
                f"{LARGEST_VOCABULARY}); prepare the tokens with a smaller vocabulary"
            )
        for split in manifest["splits"].values():
            for entry in (*split["shards"], split["index"]):
                check_file(folder, entry, verify=verify)
        return cls(folder=folder, manifest=manifest)

    @property
    def sha256(self) -> str:
        """Fingerprint of the data: the manifest with the hashes of all files."""
        return sha256_json(self.manifest)

    @property
    def vocab_size(self) -> int:
        return self.manifest["vocab_size"]

    def bytes_per_token(self, split: str) -> float:
        """UTF-8 bytes of text per token, `<|bos|>` included in the tokens."""
        return self._split(split)["bytes_per_token"]

    def split(self, split: str) -> TokenStream:
        """The tokens of a split as one sequence."""
        shards = self._split(split)["shards"]
        return TokenStream([np.memmap(self.folder / entry["file"], dtype=DTYPE, mode="r") for entry in shards])

    def documents(self, split: str) -> pl.DataFrame:
        """Index of a split: doc_id, start (position in the split), tokens, domain, package."""
        return pl.read_parquet(self.folder / self._split(split)["index"]["file"])

    def _split(self, split: str) -> dict:
        if split not in self.manifest["splits"]:
            raise BadInput(f"{self.folder}: split {split!r} is none of {sorted(self.manifest['splits'])}")
        return self.manifest["splits"][split]


class TokenStream:
    """Memory-mapped shards read as one uint16 sequence: `len(stream)`, `stream[start:stop]`, `np.asarray`."""

    def __init__(self, shards: list[np.ndarray]) -> None:
        self._shards = shards
        self._starts = np.cumsum([0, *(len(shard) for shard in shards)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, window: slice) -> np.ndarray:
        start, stop, step = window.indices(len(self))
        if step != 1:
            raise ValueError(f"step {step}: only contiguous slices are supported")
        parts = [
            shard[max(start - begin, 0) : max(stop - begin, 0)]
            for shard, begin in zip(self._shards, self._starts[:-1].tolist(), strict=True)
            if begin < stop and begin + len(shard) > start
        ]
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, DTYPE), *parts])

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self[:], dtype=dtype, copy=copy)


class _ShardWriter:
    """Collects ids and writes a file whenever `shard_tokens` of them are there."""

    def __init__(self, folder: Path, split: str, shard_tokens: int) -> None:
        self._folder, self._split, self._shard_tokens = folder, split, shard_tokens
        self._waiting: list[np.ndarray] = []
        self._waiting_tokens = 0
        self._files: list[dict] = []
        self.tokens = 0

    def add(self, tokens: np.ndarray) -> None:
        self._waiting.append(tokens)
        self._waiting_tokens += len(tokens)
        self.tokens += len(tokens)
        while self._waiting_tokens >= self._shard_tokens:
            self._write(self._shard_tokens)

    def close(self) -> list[dict]:
        if self._waiting_tokens:
            self._write(self._waiting_tokens)
        return self._files

    def _write(self, count: int) -> None:
        tokens = np.concatenate(self._waiting)
        path = self._folder / f"{self._split}-{len(self._files):05d}.bin"
        with atomic_path(path) as temporary:
            tokens[:count].tofile(temporary)
        self._files.append({**file_entry(path), "tokens": count})
        self._waiting = [tokens[count:]]
        self._waiting_tokens = len(tokens) - count


def _write_index(path: Path, documents: pl.DataFrame) -> dict:
    index = documents.with_columns(start=pl.col("tokens").cum_sum() - pl.col("tokens"))
    with atomic_path(path) as temporary:
        index.select("doc_id", "start", "tokens", "domain", "package").write_parquet(temporary)
    return file_entry(path)
