"""Runs that are pooled must agree in code, packages, data and machine; where they do not they are marked or refused."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from moe_replication.errors import BadInput, named

# Columns that must be equal in runs that are pooled, and over which of them. A recipe may set the precision.
SHARED = {
    "training_code": ["paper"],
    "lock_sha256": ["paper"],
    "data_sha256": ["paper", "condition"],
    "device": ["paper"],
    "dtype": ["paper", "recipe"],
    "deterministic": ["paper"],
}
DIGESTS = ("training_code", "lock_sha256", "data_sha256")


def marked_versions(runs: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Runs with the column mixed_versions, and a warning for every column that differs within a pool."""
    mixed = pl.any_horizontal(pl.col(column).n_unique().over(unit) > 1 for column, unit in SHARED.items())
    warnings = []
    for column, name, pool in _differing(runs):
        counts = pool.group_by(column, maintain_order=True).len().rows()
        versions = ", ".join(f"{_short(column, version)} in {count} runs" for version, count in counts)
        warnings.append(
            f"warning: {name} at scale {pool['scale'][0]} pools versions of {column} ({versions}); "
            "rerun those that differ before you trust a comparison"
        )
    return runs.with_columns(mixed.alias("mixed_versions")), warnings


def check_pool(runs: pl.DataFrame, *, mixed: bool) -> list[str]:
    """A warning for every pool of several versions among these runs; BadInput for one unless `mixed`."""
    if not mixed:
        refuse_mixed(runs)
    return marked_versions(runs)[1]


def refuse_mixed(runs: pl.DataFrame) -> None:
    """BadInput that names versions and conditions where runs to be pooled differ in one of the SHARED columns.

    The git commit may differ, in imported runs too: training_code hashes the code that trains.
    """
    found = []
    for column, _, pool in _differing(runs):
        versions = pool.group_by(column, maintain_order=True).agg(pl.col("condition").unique().sort())
        shown = (f"{_short(column, version)} in {named(names)}" for version, names in versions.iter_rows())
        found.append(f"{pool['paper'][0]}: {column} is {'; '.join(shown)}")
    if found:
        raise BadInput(
            f"runs of several versions at scale {runs['scale'][0]} ({' | '.join(found)}): runs that are pooled must "
            "share training code, lock file, data, device, precision and deterministic mode; train those that differ "
            "again, or set pool_mixed_versions to true"
        )


def _differing(runs: pl.DataFrame) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """(column, name of the pool, its runs) wherever runs of a pool differ in a column that they must share."""
    for column, unit in SHARED.items():
        for key, pool in runs.group_by(unit, maintain_order=True):
            if pool[column].n_unique() > 1:
                yield column, " ".join(str(part) for part in key if part is not None), pool


def _short(column: str, version: object) -> str:
    """A digest by its first digits."""
    return str(version)[:12] if column in DIGESTS else str(version)
