"""config/ read as one project: what runs, with which settings, at which scale."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from moe_replication.config.claims import check_claims, load_claims
from moe_replication.config.figures import FigureEntry, read_figures
from moe_replication.config.fingerprint import config_version
from moe_replication.config.image_sizes import check_image_sizes
from moe_replication.config.overlays import Leaf, lay_over, leaf_text, origins, read_layer, values
from moe_replication.config.overrides import read_settings
from moe_replication.config.recipes import check_recipe, recipe_tree
from moe_replication.config.run import RunConfig, build_run_config
from moe_replication.config.schema import SCHEMAS, read_yaml, validate
from moe_replication.errors import BadInput


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    name: str
    description: str
    seeds: tuple[int, ...]
    job: str
    stand_ins: dict[str, str]
    threads: int
    gpus_per_process: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """A row of an experiment matrix; `tree` holds its resolved settings with their origins."""

    name: str
    title: str
    rows: tuple[str, ...]
    baseline: str | None
    recipe: str | None
    tree: dict
    config: RunConfig

    @property
    def values(self) -> dict:
        """Resolved settings as plain values."""
        return values(self.tree)

    @property
    def origins(self) -> dict[str, str]:
        """Dotted key -> where the value comes from."""
        return origins(self.tree)

    @property
    def version(self) -> str:
        """Hash of the resolved settings."""
        return config_version(self.values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Paper:
    name: str
    figures: dict[str, FigureEntry]
    known_conditions: tuple[str, ...]
    conditions: dict[str, Condition]


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
    enabled: bool
    uri: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """Everything that config/ says, checked."""

    root: Path
    scale: Scale
    papers: dict[str, Paper]
    seeds: tuple[int, ...]
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
            for seed in self.seeds
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
            raise _unknown("paper", paper, self.papers)
        if condition not in self.papers[paper].conditions:
            raise _unknown(f"condition of {paper} at scale {self.scale.name}", condition, self.papers[paper].conditions)
        config = self.papers[paper].conditions[condition].config
        return Run(scale=self.scale.name, paper=paper, condition=condition, seed=seed, config=config)


def load_project(root: Path | str = ".", overrides: dict | None = None) -> Project:
    """Read and check config/ below `root`; `overrides` is laid over config.yaml. BadInput says what is wrong."""
    root = Path(root)
    settings = read_settings(root, overrides or {})
    scale_file = root / "config/scales" / f"{settings['scale']}.yaml"
    scale = read_yaml(scale_file)
    validate(scale, root / SCHEMAS / "scale.schema.yaml", _shown(scale_file, root))
    if scale["scale"] != settings["scale"]:
        raise BadInput(f"{_shown(scale_file, root)}: scale = {scale['scale']!r} must equal the file name")
    roots = _checked_roots(root, settings["data"]["roots"])
    documents = {name: read_paper(root, name) for name in settings["papers"]}
    check_recipe(settings["recipe"], documents.values())
    papers = {name: _paper(root, document, scale, roots, settings["recipe"]) for name, document in documents.items()}
    known = {(paper.name, name) for paper in papers.values() for name in paper.known_conditions}
    claims = load_claims(root / "config/claims", root / SCHEMAS / "claims.schema.yaml")
    claims = [claim for claim in claims if claim["paper"] in papers]
    check_claims(claims, known)
    return Project(
        root=root,
        scale=Scale(
            name=scale["scale"], description=scale["description"], seeds=tuple(scale["seeds"]),
            job=scale["job"],
            stand_ins=scale["stand_ins"], threads=scale["threads"], gpus_per_process=scale["gpus_per_process"],
        ),
        papers=_chosen(papers, settings["conditions"]),
        seeds=tuple(settings["seeds"] or scale["seeds"]),
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
    for name, folder in roots.items():
        if folder is None:
            continue
        if name == "core-bundle":
            if not folder.startswith(("http://", "https://")) and not (root / folder).exists():
                raise BadInput(f"data.roots.{name} = {folder!r}: no such folder or zip file; give one, a URL, or null")
        elif not (root / folder).is_dir():
            raise BadInput(
                f"data.roots.{name} = {folder!r}: no such folder; give the folder of a local copy, or null for the hub"
            )
    return roots


def read_paper(root: Path, name: str) -> dict:
    """config/papers/{name}.yaml, checked against its schema."""
    path = root / "config/papers" / f"{name}.yaml"
    paper = read_yaml(path)
    source = _shown(path, root)
    validate(paper, root / SCHEMAS / "paper.schema.yaml", source)
    if paper["paper"] != name:
        raise BadInput(f"{source}: paper = {paper['paper']!r} must equal the file name")
    return paper


def _paper(root: Path, paper: dict, scale: dict, roots: dict[str, str | None], recipe: str) -> Paper:
    name = paper["paper"]
    source = f"config/papers/{name}.yaml"
    if name not in scale["papers"]:
        raise BadInput(f"scale {scale['scale']} has no section for paper {name}; add papers.{name} to its file")
    section = scale["papers"][name]
    where = f"config/scales/{scale['scale']}.yaml papers.{name}"
    for pattern in [*section["conditions"], *section.get("conditions_set", {})]:
        if not fnmatch.filter(paper["conditions"], pattern):
            raise _unknown(f"condition in {where}", pattern, paper["conditions"])
    for key, row in paper["conditions"].items():
        if "recipe" in row and row["recipe"] not in paper.get("recipes", {}):
            raise _unknown(f"recipe of condition {key} in {source}", row["recipe"], paper.get("recipes", {}))
        if row.get("baseline") is not None and row["baseline"] not in paper["conditions"]:
            raise _unknown(f"baseline of condition {key} in {source}", row["baseline"], paper["conditions"])
    schema = root / SCHEMAS / "run.schema.yaml"
    chosen = [key for key in paper["conditions"] if _matches(key, section["conditions"])]
    conditions = {key: _condition(paper, key, scale, roots, schema, recipe) for key in chosen}
    for key, condition in conditions.items():
        check_image_sizes(root, condition.config, f"condition {key} of {name} at scale {scale['scale']}")
    return Paper(
        name=name, figures=read_figures(paper["figures"], source), known_conditions=tuple(paper["conditions"]),
        conditions=conditions,
    )  # fmt: skip


def _condition(
    paper: dict, name: str, scale: dict, roots: dict[str, str | None], schema: Path, recipe: str
) -> Condition:
    row = paper["conditions"][name]
    section = scale["papers"][paper["paper"]]
    ours = f"ours: scale {scale['scale']}"
    recipe = row.get("recipe", recipe)
    source = f"condition {name} of {paper['paper']} at scale {scale['scale']}"
    try:
        tree = recipe_tree(paper, recipe)
        tree = lay_over(tree, read_layer(row["set"], f"{paper['paper']}, {', '.join(row['rows'])}"))
        own = [size for pattern, size in section.get("conditions_set", {}).items() if _matches(name, [pattern])]
        of_task = section.get("task_set", {}).get(leaf_text(tree, "task"), {})
        for size in (section["set"], of_task, *own):
            tree = lay_over(tree, read_layer(size, ours))
    except BadInput as error:
        raise BadInput(f"{source}: {error}") from error
    # Before the schema has seen them: a wrong or missing one is named below.
    wanted = leaf_text(tree, "data", "set")
    stand_in = scale["stand_ins"].get(wanted)
    if stand_in is not None and roots.get(wanted) is None:
        leaf = Leaf(value=stand_in, origin=f"{ours}, stands in for {wanted}")
        tree = lay_over(tree, {"data": {"set": leaf}})
    validate(values(tree), schema, source)
    baseline = row.get("baseline", paper["default_baseline"])
    return Condition(
        name=name, title=row["title"], rows=tuple(row["rows"]), baseline=baseline if baseline != name else None,
        recipe=recipe if "recipes" in paper else None, tree=tree, config=build_run_config(values(tree), source),
    )  # fmt: skip


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _chosen(papers: dict[str, Paper], wanted: list[str]) -> dict[str, Paper]:
    if not wanted:
        return {name: paper for name, paper in papers.items() if paper.conditions}
    present = {name for paper in papers.values() for name in paper.conditions}
    for name in wanted:
        if name not in present:
            raise _unknown("condition in conditions", name, present)
    chosen = {}
    for paper in papers.values():
        kept = {name: condition for name, condition in paper.conditions.items() if name in wanted}
        if kept:
            chosen[paper.name] = dataclasses.replace(paper, conditions=kept)
    return chosen


def _unknown(what: str, name: str, known: Iterable[str]) -> BadInput:
    close = difflib.get_close_matches(name, list(known), n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return BadInput(f"unknown {what}: {name!r}{hint} (known: {', '.join(sorted(known))})")


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
