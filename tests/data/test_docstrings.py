from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from moe_replication.data.docstrings import SourceFile, cut, read_source, split_prose_code


def read(tmp_path, content: str | bytes, package: str = "example", minimum: int = 1):
    file = tmp_path / "module.py"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_source(SourceFile(package, "module.py", file), minimum, 1000)


def test_doctest_block_ends_at_the_blank_line():
    text = "Adds.\n\n>>> add(1, 2)\n3\n\nThe end."
    assert split_prose_code(text) == ("Adds.\n\nThe end.", ">>> add(1, 2)\n3")


def test_doctest_block_without_following_blank_line_runs_to_the_end():
    assert split_prose_code(">>> f()\n1\nstill output") == ("", ">>> f()\n1\nstill output")


def test_literal_block_leaves_its_introduction_in_prose_and_is_dedented():
    text = "Use it so::\n\n    if x:\n        y()\n\n    z()\n\nDone."
    assert split_prose_code(text) == ("Use it so::\n\nDone.", "if x:\n    y()\n\nz()")


def test_code_directive_goes_but_other_directives_stay_prose():
    text = "A.\n\n.. code-block:: python\n\n    run()\n\n.. note::\n\n    Be careful."
    assert split_prose_code(text) == ("A.\n\n.. note::\n\n    Be careful.", "run()")


def test_fenced_block_loses_its_fences():
    assert split_prose_code("A.\n```py\nx = 1\n```\nB.") == ("A.\n\nB.", "x = 1")


def test_unclosed_fence_runs_to_the_end():
    assert split_prose_code("A.\n```\nx = 1") == ("A.", "x = 1")


def test_double_colon_without_block_is_prose():
    assert split_prose_code("Nothing follows::\nB.") == ("Nothing follows::\nB.", "")


@given(st.lists(st.sampled_from(["word", "  deeper", ">>> x", "```", "see::", ".. code::", ".. note::", "", "\t"])))
def test_every_word_lands_in_exactly_one_part(lines):
    prose, code = split_prose_code("\n".join(lines))
    words = " ".join(lines).split()
    markers = {"```", "..", "code::"}
    kept = [word for word in words if word not in markers]
    found = [word for word in f"{prose}\n{code}".split() if word not in markers]
    assert sorted(found) == sorted(kept)


def test_cut_packs_whole_paragraphs():
    assert cut("aaaa\n\nbb\n\ncccc", 8) == ["aaaa\n\nbb", "cccc"]
    assert cut("a" * 10, 4) == ["aaaa", "aaaa", "aa"]


@given(st.text(alphabet="ab\n", max_size=200), st.integers(1, 50))
def test_cut_loses_nothing_and_respects_the_maximum(text, maximum):
    pieces = cut(text, maximum)
    assert all(len(piece) <= maximum for piece in pieces)
    assert "".join(pieces).replace("\n", "") == text.replace("\n", "")


def test_docstrings_of_module_class_and_nested_functions_in_source_order(tmp_path):
    source = '''"""Module."""
if True:
    class A:
        """Class."""
        def f(self):
            """Method."""
            async def g():
                """Inner."""
x = """no docstring"""
'''
    documents = read(tmp_path, source)
    assert [document.text for document in documents] == ["Module.", "Class.", "Method.", "Inner."]
    assert {document.domain for document in documents} == {"prose"}
    assert documents[0].digest == hashlib.sha256(b"Module.").hexdigest()


def test_prose_and_code_become_two_documents(tmp_path):
    documents = read(tmp_path, '"""Adds.\n\n    >>> 1 + 1\n    2\n"""')
    assert [(document.domain, document.text) for document in documents] == [
        ("prose", "Adds."),
        ("code", ">>> 1 + 1\n2"),
    ]


def test_short_documents_are_left_out(tmp_path):
    assert [d.text for d in read(tmp_path, '"""Long enough."""\ndef f():\n    """No."""\n', minimum=10)] == [
        "Long enough."
    ]


def test_digest_ignores_whitespace_only(tmp_path):
    (first,) = read(tmp_path, '"""a  b\n    c"""')
    (second,) = read(tmp_path, '"""a b c"""')
    assert first.digest == second.digest
    assert first.text != second.text


def test_unparsable_file_is_none_and_lone_surrogates_are_replaced(tmp_path):
    assert read(tmp_path, '"""open') is None
    assert read(tmp_path, b'"""nul"""\x00') is None
    (document,) = read(tmp_path, '"""bad \\ud800 escape"""')
    assert document.text == "bad ? escape"


def test_language_reference_topics(tmp_path):
    source = "topics = {'if': 'The \"if\" statement\\n' 'runs.', 'with': 'The \"with\" statement.'}"
    documents = read(tmp_path, source, package="python-reference")
    assert [document.text for document in documents] == ['The "if" statement\nruns.', 'The "with" statement.']
