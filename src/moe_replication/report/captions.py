"""Captions of the figures, workflow/report/{name}.rst, as HTML: what Snakemake shows of them in its report."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from docutils.core import publish_parts
from jinja2 import Environment, TemplateError

from moe_replication.errors import BadInput

FOLDER = Path("workflow/report")


def caption_html(root: Path, scale: str, name: str) -> str:
    """The caption of a figure at a scale; BadInput where there is none or it does not render."""
    path = root / FOLDER / f"{name}.rst"
    try:
        template = Environment(trim_blocks=True, lstrip_blocks=True).from_string(path.read_text(encoding="utf-8"))
        text = template.render(snakemake=SimpleNamespace(config={"scale": scale}))
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such file; every figure of config/papers needs a caption there") from error
    except TemplateError as error:
        raise BadInput(f"{path}: {error}; a caption may use snakemake.config['scale'] only") from error
    settings = {"report_level": 5, "file_insertion_enabled": False, "raw_enabled": False}
    return publish_parts(text, writer="html", settings_overrides=settings)["fragment"].strip()
