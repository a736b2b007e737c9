"""Every relative link of the documentation leads to a file, and its anchor to a heading there."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from hooks import on_page_markdown

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
MARKDOWN = MarkdownIt("commonmark").enable("table")


def _tokens(text: str) -> Iterator[Token]:
    for token in MARKDOWN.parse(text):
        yield token
        yield from token.children or []


def links(text: str) -> list[str]:
    """Targets of links and pictures that are no address of the web."""
    found = [token.attrGet("href") or token.attrGet("src") for token in _tokens(text)]
    return [link for link in found if link and not re.match(r"[a-z]+:", link)]


def slugs(text: str) -> set[str]:
    """Anchors of the headings, as the toc of Python-Markdown makes them."""
    found: set[str] = set()
    for opening, inline in pairwise(MARKDOWN.parse(text)):
        if opening.type != "heading_open":
            continue
        words = "".join(child.content for child in inline.children if child.type in ("text", "code_inline"))
        plain = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode()
        slug = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())
        while not slug or slug in found:
            counted = re.fullmatch(r"(.*)_([0-9]+)", slug)
            slug = f"{counted[1]}_{int(counted[2]) + 1}" if counted else f"{slug}_1"
        found.add(slug)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_relative_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for link in links(text):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in slugs(target.read_text(encoding="utf-8")), link


def test_every_page_is_in_the_navigation():
    def pages(entry: object) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        return [page for part in (entry.values() if isinstance(entry, dict) else entry) for page in pages(part)]

    navigation = pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert sorted(navigation) == sorted(page.relative_to(DOCS).as_posix() for page in PAGES)


@pytest.mark.parametrize(
    ("source", "link", "kept"),
    [
        ("cluster.md", "../config/scheduling.yaml", False),
        ("reference/config.md", "../../config/README.md#layers", False),
        ("reference/config.md", "../architecture.md#a-run", True),
        ("cluster.md", "../no/such/file", True),
    ],
)
def test_links_out_of_the_site_leave_no_relative_link(source, link, kept):
    class Page:
        class file:
            src_uri = source

    shown = on_page_markdown(f"See [some words]({link}).", Page)
    assert "some words" in shown
    assert (f"({link})" in shown) is kept
