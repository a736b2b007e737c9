from __future__ import annotations

from pathlib import Path

import pytest

from moe_replication.errors import BadInput
from moe_replication.report.discrepancies import discrepancies_page

ROOT = Path(__file__).parents[2]


def test_headings_tables_lists_and_code_become_html():
    page = discrepancies_page('# Readings\n\n| a | b |\n|---|---|\n| 1 | `x` |\n\n- "never" tested\n')
    assert "<title>Readings</title>" in page
    assert "<h1>Readings</h1>" in page
    assert "<td>1</td>" in page
    assert "<td><code>x</code></td>" in page
    assert "<li>&quot;never&quot; tested</li>" in page


def test_html_in_the_text_is_shown_not_obeyed():
    page = discrepancies_page("# T\n\n<script>alert(1)</script>\n")
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_text_without_a_heading_is_refused():
    with pytest.raises(BadInput, match=r"docs/discrepancies.md: its first line 'text' must be a heading"):
        discrepancies_page("text\n# late\n")


def test_every_row_of_the_repository_s_tables_is_there():
    markdown = (ROOT / "docs/discrepancies.md").read_text(encoding="utf-8")
    rows = [line for line in markdown.splitlines() if line.startswith("|") and not line.startswith("|---")]
    assert len(rows) > 30
    assert discrepancies_page(markdown).count("<tr>") == len(rows)
