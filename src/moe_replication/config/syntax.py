"""Python files as syntax trees, each parsed once a process: for versions of code and for the imports of figures."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def syntax(file: Path) -> ast.Module:
    """Syntax tree of a file without its docstrings; callers must not change it."""
    return _parsed(file.read_text(encoding="utf-8"))


def dumped(file: Path) -> bytes:
    """The tree of `syntax` as text: two files with equal ones do the same."""
    return _dumped(file.read_text(encoding="utf-8"))


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """A module and every statement in it, however deep; without the expressions, which are most of the tree."""
    yield node
    for block in ("body", "orelse", "finalbody", "handlers", "cases"):
        for inner in getattr(node, block, ()):
            yield from statements(inner)


# By their text, since a file may change while a process lives.
@functools.cache
def _parsed(text: str) -> ast.Module:
    tree = ast.parse(text)
    for node in statements(tree):
        if isinstance(node, _DOCUMENTED) and node.body and _is_docstring(node.body[0]):
            node.body = node.body[1:]
    return tree


@functools.cache
def _dumped(text: str) -> bytes:
    return _text(_parsed(text)).encode()


def _text(value: object) -> str:
    """A tree without what is empty: Python's versions add empty fields, and empty ends to formatted strings."""
    if isinstance(value, ast.AST):
        filled = ((name, part) for name in value._fields if (part := getattr(value, name, None)) not in (None, []))
        return f"{type(value).__name__}({','.join(f'{name}={_text(part)}' for name, part in filled)})"
    if isinstance(value, list):
        return f"[{','.join(_text(part) for part in value if not _is_empty_end(part, value))}]"
    return repr(value)


def _is_empty_end(part: object, parts: list) -> bool:
    """Whether a part of a formatted string is the empty constant that Python 3.12 puts behind a nested format."""
    is_empty = isinstance(part, ast.Constant) and part.value == ""
    return is_empty and any(isinstance(other, ast.FormattedValue) for other in parts)


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
