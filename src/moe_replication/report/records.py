"""What the checklist is answered from: records, verdicts, settings and data sets of a scale, read once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path

import polars as pl

from moe_replication.config.data_sets import DataSet, used_data_sets
from moe_replication.config.needs import data_path
from moe_replication.config.project import Project
from moe_replication.config.run import RunConfig
from moe_replication.files import read_json, sha256_json
from moe_replication.planning.assumptions import Assumptions, load_assumptions, load_energy
from moe_replication.report.card import read_card
from moe_replication.report.cost import Totals, run_costs, totals
from moe_replication.report.origins import KINDS, origin_kind, rates, settings_of
from moe_replication.statistics.collect import read_runs


@dataclass(frozen=True, kw_only=True)
class Split:
    """Sizes of a data set's parts in words; `known` where they are counted, not only limited."""

    text: str
    known: bool


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

    @property
    def rates(self) -> list[tuple[str, str, str, str, str]]:
        """Learning rates of all papers, as `origins.rates` has them."""
        return [rate for paper in self.project.papers.values() for rate in rates(paper)]

    @property
    def matrix(self) -> int:
        """How many conditions the matrices of the papers have, at whatever scale."""
        return sum(len(paper.known_conditions) for paper in self.project.papers.values())

    @cached_property
    def splits(self) -> list[Split]:
        """Size of the training and evaluation part of each data set: counted in the prepared data, else as limited."""
        assumed = load_assumptions(self.project.root, self.project.scale)
        configs = [
            condition.config for paper in self.project.papers.values() for condition in paper.conditions.values()
        ]
        splits = (
            _images(config, self._manifest(config), assumed)
            if config.task == "vision"
            else _text(config, self._manifest(config), assumed)
            for config in configs
        )
        return list(dict.fromkeys(splits))

    def _manifest(self, config: RunConfig) -> dict | None:
        """The manifest of a run's prepared data, where it is here and is what runs were trained on."""
        path = self.project.root / data_path(self.project.data_folder, config) / "manifest.json"
        manifest = read_json(path) if path.is_file() else None
        return manifest if manifest and sha256_json(manifest) in self.values("data_sha256") else None

    def values(self, column: str) -> list:
        """The different values of a column of runs.parquet, sorted."""
        return self.runs[column].drop_nulls().unique().sort().to_list()

    def verdicts(self, kind: str) -> dict[str, int]:
        """How often each verdict fell on claims of a kind, verdicts that fell on none left out."""
        found = [claim["verdict"] for claim in self.card["claims"] if claim["kind"] == kind]
        return {verdict: found.count(verdict) for verdict in self.card["totals"] if verdict in found}


def read_records(project: Project, results: Path) -> Records:
    """runs.parquet and scorecard.json of a scale; BadInput names what is missing."""
    return Records(project=project, runs=read_runs(results / "runs.parquet"), card=read_card(results))


def code_licence() -> str:
    """Licence of this code as the installed package states it."""
    return metadata.metadata("moe-replication")["License-Expression"]


def _images(config: RunConfig, manifest: dict | None, assumed: Assumptions) -> Split:
    data, known = config.data, assumed.images.get(config.data.set)
    whole = manifest["counts"] if manifest else {"train": known.train, "test": known.test} if known else None
    if whole is None:
        return Split(text=f"{data.set}: number of images not known here", known=False)
    train, test = (min(whole[part], limit or whole[part])
                   for part, limit in (("train", data.train_images), ("test", data.test_images)))  # fmt: skip
    return Split(text=f"{data.set}: {train:,} training images, {test:,} test images", known=True)


def _text(config: RunConfig, manifest: dict | None, assumed: Assumptions) -> Split:
    data = config.data
    if manifest:
        train, validation = (manifest["splits"][part]["tokens"] for part in ("train", "validation"))
        return Split(text=f"{data.set}: {train:,} training tokens, {validation:,} validation tokens", known=True)
    limit, whole = data.train_tokens, assumed.text_tokens.get(data.set)
    train = f"at most {limit:,}" if whole is None or limit <= whole else f"about {whole:,}"
    validation = f"at most {data.validation_tokens:,} validation tokens"
    return Split(text=f"{data.set}: {train} training tokens, {validation}; the prepared data are not here", known=False)
