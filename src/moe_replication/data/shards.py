"""Token shards: flat uint16 files, an index of their documents, and a manifest written last."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from moe_replication.data.manifest import check_file
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
