"""Which figures the workflow draws together in one process."""

from __future__ import annotations

from moe_replication.config.figures import FigureEntry
from moe_replication.config.jobs import is_imported
from moe_replication.config.project import Project


def figure_jobs(project: Project) -> dict[str, dict[str, FigureEntry]]:
    """Figures by job: one a module, whose code decides what is drawn again; at scales that take a paper in one job, and
    where every run is imported, one a paper and kind of table, so that figures of the runs do not wait for the probes.
    """
    # From a bundle all is drawn anyway: a start of Python a module would take longer than the pictures.
    together = project.scale.job == "paper" or all(is_imported(project, run) for run in project.runs)
    jobs: dict[str, dict[str, FigureEntry]] = {}
    for name, figure in sorted(project.figures.items(), key=lambda item: item[1].module):
        probes = any(table.startswith("probe-") for table in figure.tables)
        whole = f"{name[0]}_{'probes' if probes else 'runs'}"
        jobs.setdefault(whole if together else figure.module, {})[name] = figure
    return jobs
