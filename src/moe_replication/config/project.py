"""config/ read as one project: what runs, with which settings, at which scale."""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass
from pathlib import Path

from moe_replication.config.claims import check_claims, load_claims
from moe_replication.config.figures import FigureEntry
from moe_replication.config.matrix import Condition, Paper, check_patterns, matches, read_matrix, read_paper, unknown
from moe_replication.config.overrides import read_settings
from moe_replication.config.recipes import check_recipe
from moe_replication.config.run import RunConfig
from moe_replication.config.schema import SCHEMAS, read_checked
from moe_replication.errors import BadInput


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """What a scale says of itself and of its jobs: `job` is how many runs one takes, `threads` are a process's."""

    name: str
    description: str
    job: str
    stand_ins: dict[str, str]
    threads: int
    gpus_per_process: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RunName:
    """What a run directory's path says."""

    scale: str
    paper: str
    condition: str
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One training run: (scale, paper, condition, seed)."""

    scale: str
    paper: str
    condition: str
    seed: int
    config: RunConfig

    @property
    def folder(self) -> Path:
        """Run directory, relative to the project's root."""
        return Path("results", self.scale, "runs", self.paper, self.condition, f"seed-{self.seed}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackingConfig:
    """Whether runs are mirrored into MLflow, and where: None for a file below results/."""

    enabled: bool
    uri: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """Everything that config/ says, checked."""

    root: Path
    scale: Scale
    papers: dict[str, Paper]
    data_folder: str
    roots: dict[str, str | None]
    max_corrupt_images: int
    pool_mixed_versions: bool
    tracking: TrackingConfig
    claims: tuple[dict, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """Every run of the chosen papers, conditions and seeds, seeds innermost."""
        return tuple(
            Run(scale=self.scale.name, paper=paper.name, condition=name, seed=seed, config=condition.config)
            for paper in self.papers.values()
            for name, condition in paper.conditions.items()
            for seed in condition.seeds
        )

    @property
    def figures(self) -> dict[str, FigureEntry]:
        """Every figure of the chosen papers by name."""
        return {name: entry for paper in self.papers.values() for name, entry in paper.figures.items()}

    @property
    def labels(self) -> dict[tuple[str, str], dict[str, object]]:
        """Title and rows of every condition, by paper and name: words that no run depends on."""
        return {
            (paper.name, name): {"title": condition.title, "rows": list(condition.rows)}
            for paper in self.papers.values()
            for name, condition in paper.conditions.items()
        }

    def condition(self, run: Run) -> Condition:
        """The row of the matrix that a run belongs to."""
        return self.papers[run.paper].conditions[run.condition]

    def run(self, paper: str, condition: str, seed: int) -> Run:
        """One run by name; BadInput when the project does not hold it."""
        if paper not in self.papers:
            raise unknown("paper", paper, self.papers)
        if condition not in self.papers[paper].conditions:
            raise unknown(f"condition of {paper} at scale {self.scale.name}", condition, self.papers[paper].conditions)
        config = self.papers[paper].conditions[condition].config
        return Run(scale=self.scale.name, paper=paper, condition=condition, seed=seed, config=config)


def load_project(root: Path | str = ".", overrides: dict | None = None) -> Project:
    """Read and check config/ below `root`; `overrides` is laid over config.yaml. BadInput says what is wrong."""
    root = Path(root)
    settings = read_settings(root, overrides or {})
    file = f"config/scales/{settings['scale']}.yaml"
    scale = read_checked(root, file, "scale")
    if scale["scale"] != settings["scale"]:
        raise BadInput(f"{file}: scale = {scale['scale']!r} must equal the file name")
    roots = _checked_roots(root, settings["data"]["roots"])
    documents = {name: read_paper(root, name) for name in settings["papers"]}
    check_recipe(settings["recipe"], documents.values())
    recipe, seeds = settings["recipe"], settings["seeds"]
    papers = {name: read_matrix(root, document, scale, roots, recipe, seeds) for name, document in documents.items()}
    known = {(paper.name, name) for paper in papers.values() for name in paper.known_conditions}
    claims = load_claims(root / "config/claims", root / SCHEMAS / "claims.schema.yaml")
    claims = [claim for claim in claims if claim["paper"] in papers]
    check_claims(claims, known)
    return Project(
        root=root,
        scale=Scale(
            name=scale["scale"], description=scale["description"], job=scale["job"],
            stand_ins=scale["stand_ins"], threads=scale["threads"], gpus_per_process=scale["gpus_per_process"],
        ),
        papers=_chosen(papers, settings["conditions"]),
        data_folder=settings["data"]["folder"],
        roots=roots,
        max_corrupt_images=settings["data"]["max_corrupt_images"],
        pool_mixed_versions=settings["pool_mixed_versions"],
        tracking=TrackingConfig(**settings["tracking"]),
        claims=tuple(claims),
    )  # fmt: skip


def parse_run_path(path: str) -> RunName:
    """results/SCALE/runs/PAPER/CONDITION/seed-N, or a file in it; BadInput for any other path."""
    found = re.fullmatch(r"results/([^/]+)/runs/([^/]+)/([^/]+)/seed-(0|[1-9][0-9]{0,17})(/[^/]*)?", path)
    if found is None:
        raise BadInput(f"run {path!r}: expected results/SCALE/runs/PAPER/CONDITION/seed-N")
    return RunName(scale=found[1], paper=found[2], condition=found[3], seed=int(found[4]))


def _checked_roots(root: Path, roots: dict[str, str | None]) -> dict[str, str | None]:
    # os.path, since Path's questions raise where a name is too long to be one.
    for name, folder in roots.items():
        if folder is None:
            continue
        if name == "core-bundle":
            if not folder.startswith(("http://", "https://")) and not os.path.exists(root / folder):
                raise BadInput(f"data.roots.{name} = {folder!r}: no such folder or zip file; give one, a URL, or null")
        elif not os.path.isdir(root / folder):
            raise BadInput(
                f"data.roots.{name} = {folder!r}: no such folder; give the folder of a local copy, or null for the hub"
            )
    return roots


def _chosen(papers: dict[str, Paper], wanted: list[str]) -> dict[str, Paper]:
    if not wanted:
        return {name: paper for name, paper in papers.items() if paper.conditions}
    present = {name for paper in papers.values() for name in paper.conditions}
    check_patterns(wanted, present, "conditions")
    chosen = {}
    for paper in papers.values():
        kept = {name: condition for name, condition in paper.conditions.items() if matches(name, wanted)}
        if kept:
            chosen[paper.name] = dataclasses.replace(paper, conditions=kept)
    return chosen
