"""Documents out of Python source: docstrings by `ast`, split into prose and code.

Only the standard library is imported here, so that worker processes start quickly.
"""

from __future__ import annotations

import ast
import gc
import hashlib
import inspect
import re
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CODE_DIRECTIVE = re.compile(
    r"\.\. (code|code-block|sourcecode|ipython|plot|doctest|testcode|testsetup|parsed-literal|prompt)::"
)
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_BODIES = ("body", "orelse", "handlers", "finalbody")


class Document(NamedTuple):
    """One document; `digest` is the `text_digest` of its text."""

    package: str
    path: str
    domain: str
    text: str
    digest: str


class SourceFile(NamedTuple):
    """A file to read: the package entry it belongs to, its path within that package, its place on disk."""

    package: str
    path: str
    file: Path


def read_source(source: SourceFile, minimum: int, maximum: int) -> list[Document] | None:
    """All documents of one file in source order, None when Python cannot parse it.

    A document has at least `minimum` characters and is cut at blank lines above `maximum`.
    """
    content = source.file.read_bytes()
    if b'"""' not in content and b"'''" not in content and source.package != "python-reference":
        return []
    try:
        tree = _parse(content)
    except (SyntaxError, ValueError, RecursionError):
        return None
    texts = _topics(tree) if source.package == "python-reference" else _docstrings(tree)
    found = []
    for text in texts:
        for domain, part in zip(("prose", "code"), split_prose_code(inspect.cleandoc(text)), strict=True):
            for piece in cut(part, maximum):
                # Escapes such as "\ud800" make strings that UTF-8 cannot hold.
                piece = piece.encode("utf-8", "replace").decode("utf-8")
                if len(" ".join(piece.split())) >= minimum:
                    found.append(Document(source.package, source.path, domain, piece, text_digest(piece)))
    return found


def text_digest(text: str) -> str:
    """SHA-256 (hex) of a text with every run of whitespace made one space."""
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()


def read_sources(sources: list[SourceFile], minimum: int, maximum: int) -> list[list[Document] | None]:
    """`read_source` for several files; the unit of work of one process."""
    # Syntax trees hold no cycles; collecting while they are built doubles the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return [read_source(source, minimum, maximum) for source in sources]
    finally:
        if collecting:
            gc.enable()


def split_prose_code(text: str) -> tuple[str, str]:
    """Split a docstring into (prose, code); each line goes to one of them, block markers to neither.

    Code is: from a line starting with `>>>` to the next blank line; what stands between two ``` fences; and
    the deeper-indented block after a line ending in `::` or after a directive of CODE_DIRECTIVE (all other
    directives stay prose). Blocks are dedented and joined by a blank line.
    """
    if not any(mark in text for mark in (">>>", "```", "::")):
        return _tidy(text), ""
    lines = text.split("\n")
    prose: list[str] = []
    code: list[str] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        marker = line.strip()
        end = at + 1
        if marker.startswith(">>>"):
            while end < len(lines) and lines[end].strip():
                end += 1
            block = lines[at:end]
        elif marker.startswith("```"):
            while end < len(lines) and not lines[end].strip().startswith("```"):
                end += 1
            block = lines[at + 1 : end]
            end += 1
        elif CODE_DIRECTIVE.match(marker):
            end = _indented_end(lines, at)
            block = lines[at + 1 : end]
        elif marker.endswith("::") and not marker.startswith(".."):
            end = _indented_end(lines, at)
            block = lines[at + 1 : end]
            prose.append(line)
        else:
            block = []
            prose.append(line)
        if any(block):
            code.append(textwrap.dedent("\n".join(block)).strip("\n"))
            # A removed block still separates the paragraphs around it.
            prose.append("")
        at = end
    return _tidy("\n".join(prose)), _tidy("\n\n".join(code))


def cut(text: str, maximum: int) -> list[str]:
    """Pack whole paragraphs into pieces of at most `maximum` characters; a longer paragraph is cut hard."""
    if len(text) <= maximum:
        return [text]
    pieces = [""]
    for paragraph in text.split("\n\n"):
        for start in range(0, len(paragraph), maximum):
            part = paragraph[start : start + maximum]
            if pieces[-1] and len(pieces[-1]) + 2 + len(part) <= maximum:
                pieces[-1] += "\n\n" + part
            else:
                pieces.append(part)
    return pieces[1:]


def _parse(content: bytes) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(content)


def _docstrings(node: ast.AST) -> Iterator[str]:
    if isinstance(node, _DOCUMENTED) and (text := ast.get_docstring(node, clean=False)):
        yield text
    for field in _BODIES:
        for child in getattr(node, field, ()):
            if hasattr(child, "body"):
                yield from _docstrings(child)


def _topics(tree: ast.Module) -> Iterator[str]:
    """The strings of `topics = {...}` in pydoc_data/topics.py, in file order."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            yield from ast.literal_eval(node.value).values()


def _indented_end(lines: list[str], at: int) -> int:
    """Index after the block below line `at` that is blank or indented deeper than it."""
    indent = len(lines[at]) - len(lines[at].lstrip())
    end = last = at + 1
    while end < len(lines):
        line = lines[end]
        if line.strip():
            if len(line) - len(line.lstrip()) <= indent:
                break
            last = end + 1
        end += 1
    return last


def _tidy(text: str) -> str:
    """No trailing blanks, no two blank lines in succession, none at the ends."""
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[^\S\n]+$", "", text, flags=re.MULTILINE)).strip("\n")
