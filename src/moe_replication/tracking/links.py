"""Addresses of MLflow's stores and pages, without MLflow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit

HOST, PORT = "127.0.0.1", 5000
# The list of experiments; without the query MLflow opens each on its page for language-model traces.
EXPERIMENTS = "/#/experiments?workflowType=machine_learning"


def default_uri(results: Path) -> str:
    """The SQLite store of one scale, below its results."""
    return f"sqlite:///{results / 'mlflow.db'}"


def base_address(uri: str) -> str:
    """Where a browser finds the store: the tracking server, or the one that `make ui` starts."""
    return shown_uri(uri).rstrip("/") if uri.startswith(("http://", "https://")) else f"http://{HOST}:{PORT}"


def exposure(host: str) -> list[str]:
    """The warning that belongs to a server on `host`; none where only this machine reaches it."""
    if host in ("localhost", "::1") or host.startswith("127."):
        return []
    return [
        f"warning: --host {host} lets everybody who reaches this machine read, change and delete the runs, without a"
        ' password; docs/security.md, "MLflow", says how to ask for one'
    ]


def comparison(experiment: str, runs: Sequence[str]) -> str:
    """Page that compares runs of one experiment, to be put after base_address; the run's own page for one."""
    if len(runs) == 1:
        return f"/#/experiments/{experiment}/runs/{runs[0]}"
    return f"/#/compare-runs?runs={_listed(runs)}&experiments={_listed([experiment])}"


def shown_uri(uri: str) -> str:
    """A tracking URI without user and password, for logs and files."""
    login, at, _ = urlsplit(uri).netloc.rpartition("@")
    return uri.replace(login + at, "") if at else uri


def _listed(names: Sequence[str]) -> str:
    return quote(json.dumps(list(names), separators=(",", ":")), safe=",")
