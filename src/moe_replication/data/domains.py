"""Probe texts by domain, code and mathematics, none of them training data: embedded or public."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from moe_replication.data.corpus import DOMAINS as KINDS
from moe_replication.data.corpus import content_sha256, read_documents, select_documents
from moe_replication.data.docstrings import text_digest
from moe_replication.data.hub import load_from_hub, local_files, unreadable
from moe_replication.data.manifest import file_entry, ids_sha256
from moe_replication.errors import BadInput
from moe_replication.files import atomic_path, write_json

DOMAINS = ("code", "math")
DOMAIN_SETS = ("embedded", "public")


@dataclass(frozen=True, kw_only=True)
class DomainRule:
    """Which validation documents of the embedded corpus make a domain.

    `kind` is the corpus's own domain (code, prose); `paths` are beginnings of source paths, empty for any;
    `pattern` is a regular expression that the text holds, null for any.
    """

    kind: str
    paths: tuple[str, ...]
    pattern: str | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "paths", tuple(self.paths))
        if self.kind not in KINDS:
            raise BadInput(f"domains.kind: {self.kind!r} is none of {list(KINDS)}")
        try:
            re.compile(self.pattern or "")
        except (re.error, OverflowError, RecursionError) as error:
            raise BadInput(f"domains.pattern: {self.pattern!r} is no regular expression ({error})") from error


@dataclass(frozen=True, kw_only=True)
class PublicDomain:
    """Test rows of a hub set at a commit; a document is the text of `columns`, joined by `between`."""

    name: str
    repository: str
    revision: str
    configuration: str
    columns: tuple[str, str]
    between: str


PUBLIC_DOMAINS = {
    "code": PublicDomain(
        name="humaneval",
        repository="openai/openai_humaneval",
        # The commit that public projects on this set pin.
        revision="7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544",
        configuration="openai_humaneval",
        columns=("prompt", "canonical_solution"),
        # The prompt ends with a line break, the solution goes on in the function's body.
        between="",
    ),
    "math": PublicDomain(
        name="gsm8k",
        repository="openai/gsm8k",
        # The commit that lighteval's tasks pin.
        revision="e53f048856ff4f594e959d75785d2c2d37b678ee",
        configuration="main",
        columns=("question", "answer"),
        between="\n",
    ),
}


def embedded_domains(corpus_dir: Path | str, rules: Mapping[str, DomainRule]) -> tuple[pl.DataFrame, dict]:
    """Documents (domain, doc_id, text) of the corpus's validation split by rule, in hash order; and their source."""
    documents = read_documents(corpus_dir)
    tables = []
    for domain in DOMAINS:
        rule = rules[domain]
        selected = select_documents(documents, split="validation", domain=rule.kind)
        if rule.paths:
            selected = selected.filter(pl.any_horizontal(pl.col("path").str.starts_with(path) for path in rule.paths))
        if rule.pattern is not None:
            found = [bool(re.search(rule.pattern, text)) for text in selected["text"]]
            selected = selected.filter(pl.Series(found, dtype=pl.Boolean))
        tables.append(selected.select(domain=pl.lit(domain), doc_id="doc_id", text="text"))
    return pl.concat(tables), {"corpus_sha256": content_sha256(corpus_dir), "split": "validation"}


def public_domains(roots: Mapping[str, str | Path | None]) -> tuple[pl.DataFrame, dict]:
    """Documents (domain, doc_id, text) of PUBLIC_DOMAINS as stored, from roots[name] or the hub; and their source.

    BadInput for a missing root, missing or damaged files or columns, or no network.
    """
    tables, facts = [], {}
    for domain in DOMAINS:
        spec = PUBLIC_DOMAINS[domain]
        rows = _rows(spec, roots.get(spec.name))
        for column in spec.columns:
            if rows[column].dtype != pl.String or rows[column].null_count():
                raise BadInput(f"data.roots.{spec.name}: column {column!r} must be text without gaps; replace the copy")
        texts = rows.select(text=pl.concat_str(spec.columns, separator=spec.between))["text"]
        ids = [text_digest(text)[:16] for text in texts]
        tables.append(pl.DataFrame({"domain": [domain] * len(ids), "doc_id": ids, "text": texts}))
        facts[domain] = {"name": spec.name, "repository": spec.repository, "revision": spec.revision}
    return pl.concat(tables), facts


def write_domains(folder: Path | str, name: str, documents: pl.DataFrame, facts: dict) -> dict:
    """Write documents.parquet and, last, manifest.json; BadInput for a domain without a document."""
    folder = Path(folder)
    (folder / "manifest.json").unlink(missing_ok=True)
    counts = {}
    for domain in DOMAINS:
        part = documents.filter(domain=domain)
        if part.is_empty():
            raise BadInput(f"domains {name}: no document of domain {domain}; loosen its rule or add to the corpus")
        counts[domain] = {
            "documents": part.height,
            "bytes": int(part["text"].str.len_bytes().sum()),
            "doc_ids_sha256": ids_sha256(part["doc_id"]),
        }
    path = folder / "documents.parquet"
    with atomic_path(path) as temporary:
        documents.write_parquet(temporary, compression="zstd")
    manifest = {"format": 1, "set": name, "source": facts, "domains": counts, "file": file_entry(path)}
    write_json(folder / "manifest.json", manifest)
    return manifest


def _rows(spec: PublicDomain, root: str | Path | None) -> pl.DataFrame:
    place = {"repository": spec.repository, "folder": spec.configuration}
    if root is None:
        rows = load_from_hub(spec.name, **place, configuration=spec.configuration, revision=spec.revision, split="test")
        return rows.select_columns(list(spec.columns)).to_polars()
    tables = []
    for file in local_files(spec.name, Path(root), **place, pattern="test-*.parquet", columns=spec.columns):
        try:
            tables.append(pl.read_parquet(file, columns=list(spec.columns)))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise unreadable(file, error) from error
    return pl.concat(tables)
