"""config/corpora: what the embedded corpus is made of, and which of its documents are probe texts."""

from __future__ import annotations

from pathlib import Path

from moe_replication.config.schema import read_checked

CORPUS_FILE = "config/corpora/embedded.yaml"
DOMAINS_FILE = "config/corpora/domains.yaml"


def corpus_settings(root: Path | str) -> dict:
    """config/corpora/embedded.yaml; BadInput when it breaks the schema."""
    return read_checked(root, CORPUS_FILE, "corpus")


def domain_rules(root: Path | str) -> dict:
    """config/corpora/domains.yaml, a rule a domain; BadInput when it breaks the schema."""
    return read_checked(root, DOMAINS_FILE, "domains")
