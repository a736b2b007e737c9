"""Recipes: named readings of a paper, laid over its defaults."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from moe_replication.config.overlays import lay_over, origins, read_layer, values
from moe_replication.errors import BadInput


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipeDifference:
    """A setting (dotted key) in which two recipes differ, with the source of either value."""

    key: str
    value_a: object
    origin_a: str
    value_b: object
    origin_b: str


def recipe_tree(paper: dict, recipe: str) -> dict:
    """Default settings of a paper under a recipe, as Leaf tree; a paper without recipes has its defaults only."""
    tree = read_layer(paper["defaults"], "ours")
    if "recipes" not in paper:
        return tree
    return lay_over(tree, read_layer(paper["recipes"][recipe], f"recipe {recipe}"))


def check_recipe(recipe: str, papers: Iterable[dict]) -> None:
    """BadInput unless every paper that defines recipes defines this one."""
    for paper in papers:
        known = paper.get("recipes")
        if known is not None and recipe not in known:
            raise BadInput(f"recipe = {recipe!r}: unknown to {paper['paper']}; choose one of {', '.join(known)}")


def recipe_difference(paper: dict, a: str, b: str) -> list[RecipeDifference]:
    """Settings in which two recipes of a paper differ, in the order of the paper's file; BadInput for unknown names."""
    for name in (a, b):
        if name not in paper.get("recipes", {}):
            known = ", ".join(paper.get("recipes", {})) or "none"
            raise BadInput(f"recipe {name!r} of {paper['paper']}: no such recipe; known: {known}")
    tree_a, tree_b = recipe_tree(paper, a), recipe_tree(paper, b)
    values_a, values_b = _flat(values(tree_a)), _flat(values(tree_b))
    origins_a, origins_b = origins(tree_a), origins(tree_b)
    return [
        RecipeDifference(
            key=key, value_a=values_a[key], origin_a=origins_a[key], value_b=values_b[key], origin_b=origins_b[key]
        )
        for key in values_a
        if values_a[key] != values_b[key]
    ]


def _flat(tree: dict, prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, item in tree.items():
        found |= _flat(item, f"{prefix}{key}.") if isinstance(item, dict) else {prefix + key: item}
    return found
