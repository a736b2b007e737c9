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
    assert _scored(scratch.planned()) == 0
    data = f"data={{roots: {{core-bundle: {folder}}}}}"
    assert _scored(scratch.planned(config=(*SMALL, data))) == 2
    address = "data={roots: {core-bundle: 'https://example.org/eval_bundle.zip'}}"
    assert _scored(scratch.planned(config=(*SMALL, address))) == 2


def _scored(planned: dict[str, int]) -> int:
    return sum(count for name, count in planned.items() if name.startswith("core_"))
