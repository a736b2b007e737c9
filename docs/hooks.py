"""What mkdocs does to the pages on their way into the site."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\[([^\]]+)\]\((\.\./[^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """The reference runs' pictures join the site's files: they lie outside docs/."""
    from mkdocs.structure.files import File  # the tests of links, without mkdocs, use the other hook

    for picture in sorted(ROOT.glob("figures/cpu/*.png")):
        place = picture.relative_to(ROOT).as_posix()
        files.append(File.generated(config, place, abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """A page as the site shows it: links that lead out of docs/ go to the repository, or are words alone."""
    # On GitHub such a link works as it stands. The site has no such file, so that a strict build refuses the link; the
    # repository's address is that of CITATION.cff, and where it has none the words stay without a link.
    address = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8")).get("repository-code")

    def replaced(link: re.Match) -> str:
        place = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page.file.src_uri), link[2]))
        if place.startswith("docs/") or not (ROOT / place).exists():
            return link[0]
        if place.startswith("figures/") and place.endswith(".png"):
            return f"[{link[1]}]({posixpath.relpath(place, posixpath.dirname(page.file.src_uri) or '.')})"
        return f"[{link[1]}]({address}/blob/main/{place}{link[3] or ''})" if address else link[1]

    return LINK.sub(replaced, markdown)
