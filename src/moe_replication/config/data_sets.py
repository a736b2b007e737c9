"""config/data_sets.yaml: whose the data are that runs read, and under which terms."""

from __future__ import annotations

from dataclasses import dataclass

from moe_replication.config.core import CORE_ROOT, core_runs, core_settings
from moe_replication.config.probe import domains_folder, probed_runs
from moe_replication.config.project import Project
from moe_replication.config.schema import read_checked
from moe_replication.errors import BadInput

FILE = "config/data_sets.yaml"


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSet:
    """Fields as in workflow/schemas/data_sets.schema.yaml; `use` is what this project does with it."""

    name: str
    title: str
    cite: str
    about: str
    licence: str
    place: str
    use: str


def used_data_sets(project: Project) -> list[DataSet]:
    """What the project's runs train on, then what their probes and CORE read; BadInput names a set without an entry."""
    uses = {
        condition.config.data.set: "training and evaluation"
        for paper in project.papers.values()
        for condition in paper.conditions.values()
    }
    if any(domains_folder(project.data_folder, run).name == "public" for run in probed_runs(project)):
        uses |= dict.fromkeys(("humaneval", "gsm8k"), "probes of finished runs")
    if core_runs(project, core_settings(project.root)):
        uses[CORE_ROOT] = "scores of finished runs"
    entries = read_checked(project.root, FILE, "data_sets")
    missing = [name for name in uses if name not in entries]
    if missing:
        raise BadInput(
            f"{FILE}: no entry for {', '.join(missing)}, which runs read; add title, cite, licence and place"
        )
    return [DataSet(name=name, use=use, **entries[name]) for name, use in uses.items()]
