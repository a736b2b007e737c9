"""The cluster of one node that these tests submit to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import slurm_cluster


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Commands to a running cluster: slurm("squeue") gives what it prints."""
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="the executor for SLURM is not installed")
    cluster = slurm_cluster.Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield slurm_cluster.run
    except slurm_cluster.Impossible as error:
        pytest.skip(f"no SLURM here: {error}")
    finally:
        cluster.stop()
