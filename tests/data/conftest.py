from __future__ import annotations

import dataclasses

import pytest

from moe_replication.data.hub_images import HUB_SETS


@pytest.fixture(autouse=True)
def _small_copies(monkeypatch):
    """Copies made in tests hold a handful of images and are whole."""
    for name, spec in HUB_SETS.items():
        monkeypatch.setitem(HUB_SETS, name, dataclasses.replace(spec, sizes=(0, 0)))
