"""Documents to token ids in their given order, by any number of processes."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from moe_replication.data.tokenizer import BOS_ID, encode, parse_tokenizer

if TYPE_CHECKING:
    import polars as pl

_CHUNK = 64
# Chunks a process may be ahead of the one that is asked for: enough to keep it busy, and what bounds the memory.
_AHEAD = 4

Encoded = tuple["pl.DataFrame", list[np.ndarray]]


def encode_documents(tokenizer: Tokenizer, batches: Iterable[pl.DataFrame], workers: int) -> Iterator[Encoded]:
    """(documents, their ids as uint16, `<|bos|>` first) in the order of `batches` (column text).

    One worker encodes in this process, on one thread, and reads no further than it is asked; with more, each of
    as many processes is at most four chunks of 64 documents ahead. The ids are the same for any number.
    """
    chunks = (part for batch in batches for part in batch.iter_slices(_CHUNK))
    if workers == 1:
        for part in chunks:
            yield part, _ids(tokenizer, part["text"].to_list())
        return
    # Spawned rather than forked: the tokenizer library holds threads.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(tokenizer.to_str(),))
    waiting = deque()
    try:
        for part in chunks:
            waiting.append((part, pool.submit(_encode_chunk, part["text"].to_list())))
            if len(waiting) >= _AHEAD * workers:
                yield _done(waiting)
        while waiting:
            yield _done(waiting)
    finally:
        pool.shutdown(cancel_futures=True)


def bytes_of_ids(tokenizer: Tokenizer) -> np.ndarray:
    """UTF-8 bytes of text behind every id, int64 [vocabulary]: none behind `<|bos|>`."""
    # A byte-level token is spelled with one character a byte.
    sizes = np.array([len(tokenizer.id_to_token(index)) for index in range(tokenizer.get_vocab_size())], np.int64)
    sizes[BOS_ID] = 0
    return sizes


def _done(waiting: deque) -> Encoded:
    part, future = waiting.popleft()
    return part, future.result()


def _ids(tokenizer: Tokenizer, texts: list[str]) -> list[np.ndarray]:
    # One text a call: a batch would start threads of its own beside the workers.
    return [np.asarray(encode(tokenizer, [text])[0], np.uint16) for text in texts]


def _start(text: str) -> None:
    """Make this process an encoder that ends with its parent, however that ends."""
    global _tokenizer
    _tokenizer = parse_tokenizer(text)
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _encode_chunk(texts: list[str]) -> list[np.ndarray]:
    return _ids(_tokenizer, texts)


# Set once in every encoding process.
_tokenizer: Tokenizer
