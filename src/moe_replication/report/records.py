"""What the checklist is answered from: records, verdicts, settings and data sets of a scale, read once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path

import polars as pl

from moe_replication.config.data_sets import DataSet, used_data_sets
from moe_replication.config.project import Project
from moe_replication.files import read_json
from moe_replication.planning.assumptions import load_assumptions, load_energy
from moe_replication.report.cost import Totals, run_costs, totals
from moe_replication.report.origins import KINDS, origin_kind, settings_of
from moe_replication.statistics.collect import read_runs


@dataclass(frozen=True, kw_only=True)
class Records:
    """The scale's runs.parquet and scorecard.json, and what follows from them."""

    project: Project
    runs: pl.DataFrame
    card: dict

    @cached_property
    def costs(self) -> Totals:
        """Hours and energy of all runs."""
        energy = load_energy(self.project.root)
        return totals(run_costs(self.runs, energy), energy)

    @cached_property
    def data_sets(self) -> list[DataSet]:
        """What training, probes and scores read."""
        return used_data_sets(self.project)

    @cached_property
    def seeds(self) -> tuple[int, int]:
        """Fewest and most runs of a condition."""
        counts = self.runs.group_by("paper", "condition").len()["len"]
        return counts.min(), counts.max()

    @cached_property
    def origins(self) -> dict[str, int]:
        """How many settings of all papers come from where."""
        kinds = [origin_kind(origin) for paper in self.project.papers.values() for _, _, origin in settings_of(paper)]
        return {kind: kinds.count(kind) for kind in KINDS}

    @cached_property
    def splits(self) -> list[str]:
        """Size of the training and evaluation part of each data set, as the settings limit it."""
        images = load_assumptions(self.project.root, self.project.scale).images
        found = []
        for paper in self.project.papers.values():
            for condition in paper.conditions.values():
                data = condition.config.data
                if condition.config.task == "vision":
                    whole = images.get(data.set)
                    train = data.train_images or (whole and whole.train)
                    test = data.test_images or (whole and whole.test)
                    found.append(f"{data.set}: {_count(train)} training images, {_count(test)} test images")
                else:
                    found.append(
                        f"{data.set}: at most {data.train_tokens:,} training tokens and"
                        f" {data.validation_tokens:,} validation tokens"
                    )
        return list(dict.fromkeys(found))

    def values(self, column: str) -> list:
        """The different values of a column of runs.parquet, sorted."""
        return self.runs[column].drop_nulls().unique().sort().to_list()

    def verdicts(self, kind: str) -> dict[str, int]:
        """How often each verdict fell on claims of a kind, verdicts that fell on none left out."""
        found = [claim["verdict"] for claim in self.card["claims"] if claim["kind"] == kind]
        return {verdict: found.count(verdict) for verdict in self.card["totals"] if verdict in found}


def read_records(project: Project, results: Path) -> Records:
    """runs.parquet and scorecard.json of a scale; BadInput names what is missing."""
    return Records(
        project=project, runs=read_runs(results / "runs.parquet"), card=read_json(results / "scorecard.json")
    )


def code_licence() -> str:
    """Licence of this code as the installed package states it."""
    return metadata.metadata("moe-replication")["License-Expression"]


def _count(number: int | None) -> str:
    return "all" if number is None else f"{number:,}"
