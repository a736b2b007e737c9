"""`why`: reasons of a job in words, from what Snakemake says of it."""

from __future__ import annotations

import dataclasses
import os
from types import SimpleNamespace

import pytest

from moe_replication.why.snakemake_plan import ParamChange, param_changes
from moe_replication.why.words import job_reasons


def test_params_are_paired_by_their_form():
    change = SimpleNamespace(
        only_old={"'0123456789ab'", "['a', 'b']", "None"}, only_new={"'ba9876543210'", "['a']", "'http://x'"}
    )
    params = {"code": "ba9876543210", "names": ["a"], "uri": "http://x", "scale": "smoke"}
    assert param_changes(params, change) == (
        ParamChange(name="code", old="'0123456789ab'", new="'ba9876543210'"),
        ParamChange(name="names", old="['a', 'b']", new="['a']"),
        ParamChange(name="uri", old=None, new="'http://x'"),
    )


def test_changed_figure_module_is_named(tmp_path, figure):
    job = dataclasses.replace(figure, params=(ParamChange(name="code", old="'aa'", new="'bb'"),))
    state, [reason] = job_reasons(job, tmp_path)
    assert state == "stale"
    assert reason.startswith("figure code differs (aa -> bb), edited since: ")
    for file in figure.outputs:
        os.utime(tmp_path / file, (4e9, 4e9))
    assert job_reasons(job, tmp_path) == ("stale", ("figure code differs (aa -> bb)",))


@pytest.mark.parametrize(
    ("changes", "state", "reasons"),
    [
        ({"planned": False}, "up to date", ()),
        ({"planned": False, "remembered": False}, "up to date",
         ("not made here by Snakemake: only file times are compared",)),
        ({"incomplete": ("b-x.png",)}, "interrupted", ("stopped while it wrote b-x.png",)),
        ({"missing": ("figures/smoke/b-x.csv",)}, "missing", ("missing: figures/smoke/b-x.csv",)),
        ({"missing": ("figures/smoke/b-x.png", "figures/smoke/b-x.csv")}, "missing", ("not made yet",)),
        ({"newer": ("a", "b", "c", "d", "e")}, "stale", ("newer input: a, b, c and 2 more",)),
        ({"added_inputs": ("a",), "dropped_inputs": ("b",)}, "stale", ("input added: a", "input gone: b")),
        ({"params": (ParamChange(name="scale", old="'cpu'", new="'demo'"),)}, "stale", ("scale: cpu -> demo",)),
        ({"params": (ParamChange(name="names", old=None, new=str(["figure"] * 40)),)}, "stale", ("names differs",)),
        ({"command_changed": True, "before": ("x", "y")}, "stale", ("its command differs", "follows on: x; y")),
        ({"before": tuple("wxyz")}, "stale", ("follows on 4 jobs",)),
    ],
)  # fmt: skip
def test_reasons_of_a_job_in_words(tmp_path, figure, changes, state, reasons):
    assert job_reasons(dataclasses.replace(figure, **changes), tmp_path) == (state, reasons)
