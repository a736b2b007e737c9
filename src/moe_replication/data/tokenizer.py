"""Byte-level BPE: any text round-trips exactly, and `<|bos|>` (id 0) begins every document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.progress import Progress
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from moe_replication.data.manifest import ids_sha256
from moe_replication.errors import BadInput
from moe_replication.files import sha256_file, write_text

BOS = "<|bos|>"
BOS_ID = 0
SMALLEST_VOCABULARY = 512
LARGEST_VOCABULARY = 65_536

# GPT-4's splitting rule with digits in pairs, as in nanochat, which paper A's models resemble: words keep
# one leading non-letter, numbers break every two digits, runs of blanks stay together.
_SPLIT = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}"
    r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)


def train_tokenizer(
    path: Path | str, batches: Iterable[pl.DataFrame], *, vocab_size: int, sample_megabytes: float
) -> dict:
    """Train on the first `sample_megabytes` (10^6 UTF-8 bytes) of `batches` (columns doc_id, text).

    Takes whole documents up to the first that reaches the limit, and no batch beyond it. Deterministic.
    Writes `path`; returns counts of the sample, `ids_sha256` of its documents and the file's SHA-256. BadInput for
    a vocabulary outside 512..65,536 or a sample too small to fill it.
    """
    if not SMALLEST_VOCABULARY <= vocab_size <= LARGEST_VOCABULARY:
        raise BadInput(f"data.vocab_size: {vocab_size} must lie between {SMALLEST_VOCABULARY} and {LARGEST_VOCABULARY}")
    if sample_megabytes <= 0:
        raise BadInput(f"data.tokenizer_megabytes: {sample_megabytes} must be above 0")
    sample = _Sample(batches, sample_megabytes * 1e6)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[BOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sample, trainer)
    if tokenizer.get_vocab_size() != vocab_size:
        raise BadInput(
            f"data.tokenizer_megabytes: a sample of {sample.bytes / 1e6:g} MB fills only "
            f"{tokenizer.get_vocab_size()} of {vocab_size} entries; raise it or lower data.vocab_size"
        )
    write_text(path, tokenizer.to_str(pretty=True))
    return {
        "vocab_size": vocab_size,
        "sample_documents": len(sample.doc_ids),
        "sample_bytes": sample.bytes,
        "sample_doc_ids_sha256": ids_sha256(sample.doc_ids),
        "sha256": sha256_file(path),
    }


def load_tokenizer(path: Path | str) -> Tokenizer:
    """Read tokenizer.json; BadInput when it is missing or foreign."""
    path = Path(path)
    if not path.exists():
        raise BadInput(f"{path}: no such file; prepare the tokens again")
    try:
        tokenizer = parse_tokenizer(path.read_text(encoding="utf-8"))
    # The library raises a bare Exception.
    except Exception as error:
        raise BadInput(f"{path}: not a tokenizer ({error}); delete it and prepare the tokens again") from error
    if tokenizer.token_to_id(BOS) != BOS_ID:
        raise BadInput(f"{path}: {BOS} must have id {BOS_ID}; delete it and prepare the tokens again")
    return tokenizer


def parse_tokenizer(text: str) -> Tokenizer:
    """A tokenizer from its JSON; a `<|bos|>` written in a text is encoded as ordinary characters."""
    tokenizer = Tokenizer.from_str(text)
    # The JSON does not keep this.
    tokenizer.encode_special_tokens = True
    return tokenizer


def encode(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Ids of every text, `<|bos|>` first."""
    return [[BOS_ID, *item.ids] for item in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


class _Sample:
    """Texts up to the one with which they reach `limit` bytes; knows the documents that were passed."""

    def __init__(self, batches: Iterable[pl.DataFrame], limit: float) -> None:
        self._batches, self._limit = batches, limit
        self.bytes = 0
        self.doc_ids: list[str] = []

    def __iter__(self) -> Iterator[str]:
        console = Console()
        with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
            task = progress.add_task("read the tokenizer's sample", total=self._limit)
            for batch in self._batches:
                for doc_id, text in batch.select("doc_id", "text").iter_rows():
                    self.doc_ids.append(doc_id)
                    self.bytes += len(text.encode())
                    yield text
                    if self.bytes >= self._limit:
                        return
                progress.update(task, completed=self.bytes)
