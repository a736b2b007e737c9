"""Whole files of the hub against the SHA-256 that it publishes for them."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from moe_replication.errors import BadInput
from moe_replication.files import sha256_file


def check_published_hashes(key: str, repository: str, revision: str, folder: str, split: str) -> int:
    """Download a split's parquet files, unless the cache has them, and compare each with its published hash.

    Returns how many were compared; small files that the hub keeps outside LFS have none. BadInput names a file that
    differs. `datasets` reads the same cache.
    """
    import huggingface_hub

    compared = 0
    tree = huggingface_hub.HfApi().list_repo_tree(repository, recursive=True, revision=revision, repo_type="dataset")
    for entry in tree:
        published = getattr(entry, "lfs", None)
        if published is None or not _belongs(entry.path, folder, split):
            continue
        file = huggingface_hub.hf_hub_download(repository, entry.path, revision=revision, repo_type="dataset")
        if sha256_file(file) != published.sha256:
            raise BadInput(
                f"{key}: {file} has another SHA-256 than {repository} publishes for {entry.path}; delete it and run the"
                " same command again"
            )
        compared += 1
    return compared


def _belongs(path: str, folder: str, split: str) -> bool:
    """Whether a file of the repository is one of the split's: in the configuration's folder, or where all share one."""
    place = PurePosixPath(path)
    named = re.fullmatch(rf"{re.escape(split)}(-.*)?\.parquet", place.name)
    return bool(named) and place.parent.as_posix() in (folder, "data", ".")
