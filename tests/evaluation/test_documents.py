from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from moe_replication.data.shards import TokenShards
from moe_replication.data.tokenizer import BOS_ID
from moe_replication.errors import BadInput
from moe_replication.evaluation.checkpoints import tokenizer_of
from moe_replication.evaluation.documents import (
    Text,
    document_row,
    domain_texts,
    pack,
    ratio_interval,
    validation_text,
)


def test_interval_of_three_documents_worked_by_hand():
    # R = (2 + 6 + 4) / (1 + 3 + 2) = 2 fits each document exactly; with 5 in place of 4: R = 13/6,
    # residuals -1/6, -1/2, 2/3, squares 1/36 + 9/36 + 16/36 = 26/36, mean count 2, error = sqrt(26/36 / 6) / 2.
    assert ratio_interval(np.array([2.0, 6.0, 4.0]), np.array([1, 3, 2])) == (2.0, 2.0, 2.0)
    loss, low, high = ratio_interval(np.array([2.0, 6.0, 5.0]), np.array([1, 3, 2]))
    half = 4.302652729749464 * (26 / 36 / 6) ** 0.5 / 2
    assert (loss, low, high) == pytest.approx((13 / 6, 13 / 6 - half, 13 / 6 + half))


def test_one_document_has_no_interval():
    assert ratio_interval(np.array([3.0]), np.array([2])) == (1.5, None, None)


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=9))
def test_documents_of_one_length_have_the_t_interval_of_their_means(means):
    _, low, high = ratio_interval(np.array(means) * 7, np.full(len(means), 7))
    half = stats.t.ppf(0.975, len(means) - 1) * stats.sem(means)
    assert (high - low) / 2 == pytest.approx(half, abs=1e-12)


def test_interval_covers_the_truth_and_counts_documents_not_tokens():
    generator = np.random.default_rng(1)
    covered, widths, naive = 0, [], []
    for _ in range(400):
        counts = generator.integers(20, 200, size=40)
        documents = [3 + generator.normal(0, 0.5) + generator.normal(0, 1, size=n) for n in counts]
        _, low, high = ratio_interval(np.array([d.sum() for d in documents]), counts)
        covered += low <= 3 <= high
        widths.append(high - low)
        tokens = np.concatenate(documents)
        naive.append(2 * 1.96 * tokens.std() / len(tokens) ** 0.5)
    assert 0.91 < covered / 400 < 0.99
    assert np.mean(widths) > 3 * np.mean(naive)


def test_packed_documents_know_their_tokens():
    text = pack("code", [[BOS_ID, 5, 6], [BOS_ID, 7]])
    assert text.ids.tolist() == [0, 5, 6, 0, 7, 0]
    assert text.tokens == 5
    assert text.document_of_token().tolist() == [0, 0, 0, 1, 1]
    assert text.head(2).ids.tolist() == [0, 5, 6]
    assert text.head(2).document_of_token().tolist() == [0, 0]
    row = document_row(text, np.array([1, 2, 3, 4, 6], np.float32))
    assert (row["domain"], row["documents"], row["tokens"], row["loss"]) == ("code", 2, 5, 3.2)


def test_validation_text_is_the_beginning_of_the_split(finished_run):
    project, _run = finished_run("dense")
    (folder,) = (project.root / "data/tokens").iterdir()
    shards = TokenShards.open(folder)
    text = validation_text(shards, 100)
    assert text.ids.tolist() == shards.split("validation")[:101].tolist()
    assert (text.ids[text.starts_D] == BOS_ID).all()
    assert text.starts_D[-1] < 100
    assert validation_text(shards, 10**6).tokens == len(shards.split("validation")) - 1


def test_domain_texts_take_the_first_documents(finished_run):
    project, run = finished_run("dense")
    folder, tokenizer = project.root / "data/domains/embedded", tokenizer_of(project, run)
    code, math = domain_texts(folder, tokenizer, 3)
    assert (code.domain, math.domain) == ("code", "math")
    assert len(code.starts_D) == 3
    first = pl.read_parquet(folder / "documents.parquet")["text"][0]
    assert tokenizer.decode(code.ids[1 : code.starts_D[1]].tolist()) == first


def test_a_missing_domain_is_named(finished_run):
    project, run = finished_run("dense")
    path = project.root / "data/domains/embedded/documents.parquet"
    pl.read_parquet(path).filter(pl.col("domain") == "code").write_parquet(path)
    with pytest.raises(BadInput, match="no document of domain math"):
        domain_texts(path.parent, tokenizer_of(project, run), 3)


def test_head_of_a_short_text_is_all_of_it():
    text = Text(domain="math", ids=np.arange(4), starts_D=np.array([0]))
    assert text.head(9).tokens == text.tokens == 3
