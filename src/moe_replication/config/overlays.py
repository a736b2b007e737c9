"""Settings laid over one another, each leaf keeping the place it came from.

A leaf is a plain value or {value: ..., origin: ...}; `origin` in a mapping speaks for every leaf below it
that has none of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

Settings = TypeVar("Settings")


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaf:
    """A setting and where its value comes from."""

    value: object
    origin: str


def read_layer(tree: dict, origin: str) -> dict:
    """Turn a YAML mapping into a tree of Leaf; `origin` is the fallback for leaves without one."""
    origin = tree.get("origin", origin)
    layer: dict[str, object] = {}
    for key, item in tree.items():
        if key == "origin":
            continue
        if isinstance(item, dict) and "value" in item:
            layer[key] = Leaf(value=item["value"], origin=item.get("origin", origin))
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


def _other_kind(below: dict, item: dict) -> bool:
    return "kind" in below and "kind" in item and below["kind"].value != item["kind"].value
