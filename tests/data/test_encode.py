from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest

from moe_replication.data.encode import bytes_of_ids, encode_documents
from moe_replication.data.tokenizer import BOS, BOS_ID, encode, load_tokenizer, train_tokenizer
from moe_replication.errors import BadInput

WORDS = np.random.default_rng(1).choice(list("abcdefghij"), size=(700, 12, 3))
DOCUMENTS = pl.DataFrame(
    {
        "doc_id": [f"{n:03d}" for n in range(700)],
        "text": [f"ünit {n} {BOS} " + " ".join(map("".join, row)) for n, row in enumerate(WORDS)],
    }
)
PARENT = """
import polars as pl
from moe_replication.data.encode import encode_documents
from moe_replication.data.tokenizer import load_tokenizer
if __name__ == "__main__":
    batch = pl.DataFrame({"text": ["a b c"] * 64})
    encoded = encode_documents(load_tokenizer(%r), (batch for _ in range(10**9)), 1 + 1)
    next(encoded)
    import multiprocessing
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    for _ in encoded:
        pass
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    train_tokenizer(path, [DOCUMENTS], vocab_size=512, sample_megabytes=1)
    return path


@pytest.fixture(scope="module")
def tokenizer(path):
    return load_tokenizer(path)


@pytest.mark.parametrize("workers", [1, 2])
def test_ids_in_the_given_order_and_little_read_ahead(tokenizer, workers):
    batches = DOCUMENTS.iter_slices(100)
    encoded = encode_documents(tokenizer, batches, workers)
    first, ids = next(encoded)
    # One worker reads the batch it is asked for, two workers eight chunks of up to 64 documents.
    assert next(batches)["doc_id"][0] == ("100" if workers == 1 else "400")
    found = [*zip(first["doc_id"], ids, strict=True)]
    for part, ids in encoded:
        found += zip(part["doc_id"], ids, strict=True)
    texts = dict(DOCUMENTS.iter_rows())
    assert [doc_id for doc_id, _ in found] == sorted(set(texts) - {f"{n}" for n in range(*SKIPPED[workers])})
    wanted = encode(tokenizer, [texts[doc_id] for doc_id, _ in found])
    assert [got.tolist() for _, got in found] == wanted
    assert {got.dtype for _, got in found} == {np.dtype(np.uint16)}


# The batch that the test above takes for itself.
SKIPPED = {1: (100, 200), 2: (400, 500)}


def test_a_failing_source_fails_here_and_not_in_a_process(tokenizer):
    def batches():
        yield DOCUMENTS.head(10)
        raise BadInput("the connection is gone")

    with pytest.raises(BadInput, match="the connection is gone"):
        list(encode_documents(tokenizer, batches(), 2))


def test_bytes_of_ids_count_the_text(tokenizer):
    text = DOCUMENTS["text"][3]
    (ids,) = encode(tokenizer, [text])
    assert ids[0] == BOS_ID
    assert bytes_of_ids(tokenizer)[ids].sum() == len(text.encode())


@pytest.mark.slow
def test_processes_end_with_a_killed_parent(path):
    parent = subprocess.Popen([sys.executable, "-c", PARENT % str(path)], stdout=subprocess.PIPE, text=True)
    children = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(children) == 2
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(100):
        if not any(os.path.exists(f"/proc/{pid}") for pid in children):
            return
        time.sleep(0.1)
    raise AssertionError(f"processes {children} outlive their parent")
