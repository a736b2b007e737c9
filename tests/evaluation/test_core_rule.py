"""The workflow scores CORE where a bundle is set, and leaves it out elsewhere."""

from __future__ import annotations

import pytest

from core_bundles import write_bundle
from scratch_project import SMALL, make_scratch

pytestmark = pytest.mark.slow


def test_one_job_a_run_of_paper_a_where_a_bundle_is_set(tmp_path):
    (tmp_path / "project").mkdir()
    scratch = make_scratch(tmp_path / "project")
    folder = write_bundle(tmp_path)
    assert "core" not in scratch.planned()
    data = f"data={{roots: {{core-bundle: {folder}}}}}"
    assert scratch.planned(config=(*SMALL, data))["core"] == 2
    address = "data={roots: {core-bundle: 'https://example.org/eval_bundle.zip'}}"
    assert scratch.planned(config=(*SMALL, address))["core"] == 2
