"""Which figures share a process."""

from __future__ import annotations

import pytest

from moe_replication.config import load_project
from moe_replication.config.figure_jobs import figure_jobs
from scratch_project import ROOT


@pytest.mark.parametrize("scale", ["smoke", "cpu"])
def test_every_figure_is_in_one_job(scale):
    project = load_project(ROOT, {"scale": scale})
    drawn = [name for figures in figure_jobs(project).values() for name in figures]
    assert sorted(drawn) == sorted(project.figures)


def test_a_module_is_a_job_and_at_smoke_a_paper_with_its_probes_apart():
    jobs = figure_jobs(load_project(ROOT, {"scale": "cpu"}))
    assert all({figure.module for figure in figures.values()} == {name} for name, figures in jobs.items())
    assert set(figure_jobs(load_project(ROOT, {"scale": "smoke"}))) == {"a_runs", "a_probes", "b_runs", "b_probes"}


def test_what_is_imported_whole_is_drawn_by_paper(monkeypatch):
    project, imported = load_project(ROOT, {"scale": "cpu"}), set()
    monkeypatch.setattr("moe_replication.config.figure_jobs.is_imported", lambda _, run: run.folder in imported)
    apart = set(figure_jobs(project))
    imported |= {run.folder for run in project.runs[1:]}
    assert set(figure_jobs(project)) == apart
    imported.add(project.runs[0].folder)
    assert set(figure_jobs(project)) == {"a_runs", "a_probes", "b_runs", "b_probes"}
