"""Settings laid over one another, each leaf keeping the place it came from.

A leaf is a plain value or {value: ..., origin: ...}; `origin` in a mapping speaks for every leaf below it
that has none of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

from moe_replication.config.schema import SCHEMAS, read_yaml, validate
from moe_replication.errors import BadInput

Settings = TypeVar("Settings")


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaf:
    """A setting and where its value comes from."""

    value: object
    origin: str


def read_layer(tree: dict, origin: str) -> dict:
    """Turn a YAML mapping into a tree of Leaf; `origin` is the fallback for leaves without one.

    BadInput for an origin that is no text, and for a further key beside value and origin.
    """
    origin = _origin_of(tree, origin)
    layer: dict[str, object] = {}
    for key, item in tree.items():
        if key == "origin":
            continue
        if isinstance(item, dict) and "value" in item:
            if set(item) - {"value", "origin"}:
                raise BadInput(f"{key}: keys {', '.join(item)}; beside value there is origin alone, delete the others")
            layer[key] = Leaf(value=item["value"], origin=_origin_of(item, origin))
        elif isinstance(item, dict):
            layer[key] = read_layer(item, origin)
        else:
            layer[key] = Leaf(value=item, origin=origin)
    return layer


def lay_over(base: dict, layer: dict) -> dict:
    """Merge `layer` over `base`; a mapping of another `kind` replaces the one below it."""
    merged = dict(base)
    for key, item in layer.items():
        below = merged.get(key)
        if isinstance(item, dict) and isinstance(below, dict) and not _other_kind(below, item):
            merged[key] = lay_over(below, item)
        else:
            merged[key] = item
    return merged


def values(tree: dict) -> dict:
    """The plain values of a tree of Leaf."""
    return {key: item.value if isinstance(item, Leaf) else values(item) for key, item in tree.items()}


def plain_settings(root: Path | str, file: str) -> dict:
    """The plain values of `file`, config/{name}.yaml, checked against workflow/schemas/{name}.schema.yaml.

    BadInput when they break it.
    """
    found = values(read_layer(read_yaml(Path(root, file)), "ours"))
    validate(found, Path(root, SCHEMAS, f"{Path(file).stem}.schema.yaml"), file)
    return found


def frozen_settings(kind: type[Settings], found: dict) -> Settings:
    """A settings dataclass from schema-checked values, lists as tuples."""
    chosen = {field.name: found[field.name] for field in fields(kind)}
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in chosen.items()})


def origins(tree: dict, prefix: str = "") -> dict[str, str]:
    """Dotted key -> origin of every leaf."""
    found: dict[str, str] = {}
    for key, item in tree.items():
        if isinstance(item, Leaf):
            found[prefix + key] = item.origin
        else:
            found |= origins(item, f"{prefix}{key}.")
    return found


def leaf_text(tree: dict, *keys: str) -> str | None:
    """A setting that is text, None where there is no such setting or it is something else."""
    found: object = tree
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found.value if isinstance(found, Leaf) and isinstance(found.value, str) else None


def _origin_of(tree: dict, fallback: str) -> str:
    origin = tree.get("origin", fallback)
    if not isinstance(origin, str):
        raise BadInput(f"origin = {origin!r} must be text: where the value comes from")
    return origin


def _other_kind(below: dict, item: dict) -> bool:
    return "kind" in below and "kind" in item and leaf_text(below, "kind") != leaf_text(item, "kind")
