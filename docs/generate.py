"""Writes docs/reference/ from the schemas, the papers' settings, the command line and the columns of the tables.

python docs/generate.py rewrites the pages; with --check it names those that are not current and exits with 1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from generator.claims import claims_page
from generator.command_line import command_line_page
from generator.markdown import ROOT
from generator.records import records_page
from generator.settings import settings_page
from generator.verdicts import verdicts_page

OUT = Path("docs/reference")
PAGES: dict[str, Callable[[], str]] = {
    "config.md": settings_page,
    "cli.md": command_line_page,
    "record.md": records_page,
    "claims.md": claims_page,
    "verdicts.md": verdicts_page,
}


def page_text(name: str) -> str:
    """A page as its file should be."""
    return PAGES[name]().rstrip() + "\n"


def stale_pages() -> dict[str, str]:
    """Name -> text of the pages whose file is missing or says something else."""
    files = {name: ROOT / OUT / name for name in PAGES}
    known = {name: file.read_text(encoding="utf-8") if file.exists() else None for name, file in files.items()}
    return {name: text for name in PAGES if (text := page_text(name)) != known[name]}


def main() -> int:
    """Write what is not current, or with --check name it; the exit code is 1 where --check finds any."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a page is not current")
    check, stale = parser.parse_args().check, stale_pages()
    for name, text in stale.items():
        if check:
            print(f"{OUT / name}: not current; run python docs/generate.py")
        else:
            (ROOT / OUT).mkdir(exist_ok=True)
            (ROOT / OUT / name).write_text(text, encoding="utf-8")
            print(f"{OUT / name}: written")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
