"""Which documents are held out: literal values, so that the rule cannot change unseen."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_replication.data.docstrings import text_digest
from moe_replication.data.hub_text import HUB_TEXTS
from moe_replication.data.manifest import ids_sha256
from moe_replication.data.sources import hash_split


@pytest.mark.parametrize(
    ("digits", "percent", "split"),
    [
        # 1 % of 16^8 is 42949673 = 0x028f5c29; the digits below it are held out.
        ("028f5c28", 1.0, "validation"),
        ("028f5c29", 1.0, "train"),
        ("00000000", 1.0, "validation"),
        ("ffffffff", 1.0, "train"),
        # 5 % is 214748365 = 0x0ccccccd.
        ("0ccccccc", 5.0, "validation"),
        ("0ccccccd", 5.0, "train"),
    ],
)
def test_digits_16_to_24_of_the_digest_decide(digits, percent, split):
    for rest in ("0", "f"):
        assert hash_split(rest * 16 + digits + rest * 40, percent) == split


def test_digest_is_of_the_text_with_single_spaces():
    digest = "9da302786db81a0c59402981777ea6ff98b501073ecd9cc2b85e5df77bc54fac"
    assert text_digest("  Experts\n\tchoose   tokens. ") == text_digest("Experts choose tokens.") == digest


def test_held_out_documents_by_name():
    held_out = [n for n in range(2000) if hash_split(text_digest(f"document {n}"), 1.0) == "validation"]
    assert held_out == [
        8,
        56,
        109,
        222,
        309,
        517,
        549,
        563,
        616,
        800,
        881,
        888,
        948,
        1213,
        1442,
        1747,
        1794,
        1841,
        1924,
        1939,
    ]
    ids = [text_digest(f"document {n}")[:16] for n in held_out]
    assert ids_sha256(ids) == "a2a2574f1ad9f70a94eae09aca3c98ba124a353fd0f765e636315f7c73a766c5"


def test_share_of_fineweb_edu_that_is_held_out():
    assert HUB_TEXTS["fineweb-edu"].validation_percent == 1.0


@given(st.text(), st.floats(0.1, 50), st.floats(0.1, 50))
def test_a_larger_share_holds_out_the_same_documents_and_more(text, one, other):
    small, large = sorted((one, other))
    if hash_split(text_digest(text), small) == "validation":
        assert hash_split(text_digest(text), large) == "validation"


def test_ids_are_hashed_in_order_with_a_newline_after_each():
    assert ids_sha256(["a", "b"]) == hashlib.sha256(b"a\nb\n").hexdigest() != ids_sha256(["b", "a"])
