"""Token shards: flat uint16 files, an index of their documents, and a manifest written last."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from moe_replication.data.manifest import check_file, is_count
from moe_replication.data.tokenizer import LARGEST_VOCABULARY
from moe_replication.errors import BadInput
from moe_replication.files import read_json, sha256_json

DTYPE = np.dtype("<u2")


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
        if not is_count(manifest["vocab_size"], least=1) or manifest["vocab_size"] > LARGEST_VOCABULARY:
            raise BadInput(
                f"{path}: vocab_size {manifest['vocab_size']} does not fit uint16 (at most "
                f"{LARGEST_VOCABULARY}); prepare the tokens with a smaller vocabulary"
            )
        if not isinstance(manifest["splits"], dict):
            raise BadInput(f"{path}: splits must be a mapping; delete the folder and prepare the tokens again")
        for name, split in manifest["splits"].items():
            for entry in _entries(path, name, split):
                check_file(folder, entry, verify=verify)
        return cls(folder=folder, manifest=manifest)

    @property
    def sha256(self) -> str:
        """Fingerprint of the data: the manifest with the hashes of all files."""
        return sha256_json(self.manifest)

    @property
    def vocab_size(self) -> int:
        return self.manifest["vocab_size"]

    def split(self, split: str) -> TokenStream:
        """The tokens of a split as one sequence."""
        shards = self._split(split)["shards"]
        return TokenStream([np.memmap(self.folder / entry["file"], dtype=DTYPE, mode="r") for entry in shards])

    def documents(self, split: str) -> pl.DataFrame:
        """Index of a split: doc_id, start (position in the split), tokens, domain, package."""
        entry = self._split(split)["index"]
        # Its pages have no checksum of their own: an altered byte would give other numbers.
        check_file(self.folder, entry, verify=True)
        return pl.read_parquet(self.folder / entry["file"])

    def _split(self, split: str) -> dict:
        if split not in self.manifest["splits"]:
            raise BadInput(f"{self.folder}: split {split!r} is none of {sorted(self.manifest['splits'])}")
        return self.manifest["splits"][split]


def _entries(path: Path, name: str, split: object) -> list[object]:
    """Entries of a split's files; BadInput where the manifest does not list whole tokens in them."""
    shards = split.get("shards") if isinstance(split, dict) else None
    if not isinstance(shards, list) or not shards or "index" not in split:
        raise BadInput(f"{path}: split {name!r} needs shards and index; delete the folder and prepare the tokens again")
    for entry in shards:
        if isinstance(entry, dict) and is_count(entry.get("bytes")) and (entry["bytes"] % 2 or not entry["bytes"]):
            raise BadInput(
                f"{path}: {entry['bytes']} bytes of a shard are not whole uint16 tokens; delete the folder and prepare"
                " the tokens again"
            )
    return [*shards, split["index"]]


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
