"""A paper's experiment matrix with the settings of a scale laid over it."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from moe_replication.config.figures import FigureEntry, read_figures
from moe_replication.config.fingerprint import config_version
from moe_replication.config.image_sizes import check_image_sizes
from moe_replication.config.overlays import Leaf, lay_over, leaf_text, origins, read_layer, values
from moe_replication.config.recipes import recipe_tree
from moe_replication.config.run import RunConfig, build_run_config
from moe_replication.config.schema import SCHEMAS, read_checked, validate
from moe_replication.errors import BadInput


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """A row of an experiment matrix; `tree` holds its resolved settings with their origins."""

    name: str
    title: str
    rows: tuple[str, ...]
    baseline: str | None
    recipe: str | None
    seeds: tuple[int, ...]
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
    """The conditions and figures that a scale has of a paper; `known_conditions` are those of its whole matrix."""

    name: str
    figures: dict[str, FigureEntry]
    known_conditions: tuple[str, ...]
    conditions: dict[str, Condition]


def read_paper(root: Path, name: str) -> dict:
    """config/papers/{name}.yaml, checked against its schema."""
    file = f"config/papers/{name}.yaml"
    paper = read_checked(root, file, "paper")
    if paper["paper"] != name:
        raise BadInput(f"{file}: paper = {paper['paper']!r} must equal the file name")
    return paper


def read_matrix(
    root: Path, paper: dict, scale: dict, roots: dict[str, str | None], recipe: str, seeds: list[int]
) -> Paper:
    """The conditions that a scale has of a paper; `seeds`, where there are any, in place of the scale's."""
    name = paper["paper"]
    source = f"config/papers/{name}.yaml"
    if name not in scale["papers"]:
        raise BadInput(f"scale {scale['scale']} has no section for paper {name}; add papers.{name} to its file")
    section = scale["papers"][name]
    where = f"config/scales/{scale['scale']}.yaml papers.{name}"
    patterns = (*section["conditions"], *section.get("conditions_set", {}), *section.get("seeds_set", {}))
    check_patterns(patterns, paper["conditions"], where)
    for key, row in paper["conditions"].items():
        if "recipe" in row and row["recipe"] not in paper.get("recipes", {}):
            raise unknown(f"recipe of condition {key} in {source}", row["recipe"], paper.get("recipes", {}))
        if row.get("baseline") is not None and row["baseline"] not in paper["conditions"]:
            raise unknown(f"baseline of condition {key} in {source}", row["baseline"], paper["conditions"])
    schema = root / SCHEMAS / "run.schema.yaml"
    chosen = [key for key in paper["conditions"] if matches(key, section["conditions"])]
    conditions = {
        key: _condition(paper, key, scale, roots, schema, recipe, seeds or _seeds(key, scale, section))
        for key in chosen
    }
    for key, condition in conditions.items():
        check_image_sizes(root, condition.config, f"condition {key} of {name} at scale {scale['scale']}")
    return Paper(
        name=name, figures=read_figures(paper["figures"], source), known_conditions=tuple(paper["conditions"]),
        conditions=conditions,
    )  # fmt: skip


def _seeds(name: str, scale: dict, section: dict) -> list[int]:
    """Those of the last pattern of seeds_set that names the condition, else the scale's."""
    own = [seeds for pattern, seeds in section.get("seeds_set", {}).items() if matches(name, [pattern])]
    return own[-1] if own else scale["seeds"]


def _condition(
    paper: dict, name: str, scale: dict, roots: dict[str, str | None], schema: Path, recipe: str, seeds: list[int]
) -> Condition:
    row = paper["conditions"][name]
    section = scale["papers"][paper["paper"]]
    ours = f"ours: scale {scale['scale']}"
    recipe = row.get("recipe", recipe)
    source = f"condition {name} of {paper['paper']} at scale {scale['scale']}"
    try:
        tree = recipe_tree(paper, recipe)
        tree = lay_over(tree, read_layer(row["set"], f"{paper['paper']}, {', '.join(row['rows'])}"))
        own = [size for pattern, size in section.get("conditions_set", {}).items() if matches(name, [pattern])]
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
        recipe=recipe if "recipes" in paper else None, seeds=tuple(seeds), tree=tree,
        config=build_run_config(values(tree), source),
    )  # fmt: skip


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name fits any pattern of the shell: `d6-*`, `et`."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def check_patterns(patterns: Iterable[str], known: Collection[str], where: str) -> None:
    """BadInput for the first pattern that no known condition fits; `where` says who wrote it."""
    for pattern in patterns:
        if not any(matches(name, [pattern]) for name in known):
            raise unknown(f"condition in {where}", pattern, known)


def unknown(what: str, name: str, known: Iterable[str]) -> BadInput:
    """The error for a name that is not among the known ones, with the closest of them."""
    close = difflib.get_close_matches(name, list(known), n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return BadInput(f"unknown {what}: {name!r}{hint} (known: {', '.join(sorted(known))})")
