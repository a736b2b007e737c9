"""Parts of Markdown pages, the same to Python-Markdown and to GitHub, and the words that no schema says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from moe_replication.config.schema import SCHEMAS, read_yaml

ROOT = Path(__file__).parents[2]
PAPERS = {"Paper A": "expert-threshold", "Paper B": "expert-ecology"}
WORDS_FILE = Path("docs/generator/words.yaml")
WORDS = read_yaml(ROOT / WORDS_FILE)


def schema(name: str) -> dict:
    """workflow/schemas/{name}.schema.yaml."""
    return read_yaml(ROOT / SCHEMAS / f"{name}.schema.yaml")


def code(value: object) -> str:
    """A value as it stands in a settings file, blanks at its ends in quotes."""
    plain = isinstance(value, str) and value.strip() == value
    return f"`{value if plain else json.dumps(value, ensure_ascii=False)}`"


def prose(words: str) -> str:
    """Words as they are read, whatever signs are in them; backticks still mark code."""
    parts = " ".join(words.split()).split("`")
    parts[::2] = [part.replace("*", "\\*").replace("<", "&lt;").replace("|", "\\|") for part in parts[::2]]
    return "`".join(parts)


def lines(*parts: str) -> str:
    """Lines of a cell, without those that are empty."""
    return "<br>".join(filter(None, parts))


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table with a blank line below it."""
    head = list(head)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)) + "\n\n"
