"""The keys of a JSON schema of workflow/schemas, with type and range in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from generator.markdown import code

BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """A key by its dotted name; `kind` is the alternative that it belongs to, where a mapping has several."""

    name: str
    type: str
    meaning: str
    kind: str


def keys_of(schema: dict, prefix: str = "", kind: str = "", root: dict | None = None) -> Iterator[Key]:
    """Every described key below an object schema; NAME is for the file to choose, [] is an item of a list."""
    root, free = root or schema, schema.get("additionalProperties")
    known = {key: part for key, part in schema.get("properties", {}).items() if key not in ("value", "origin")}
    for key, part in (known | ({"NAME": free} if isinstance(free, dict) else {})).items():
        if "$ref" in part:
            part = part | root["$defs"][part["$ref"].rpartition("/")[2]]
        if "description" in part:
            yield Key(name=prefix + key, type=type_text(part), meaning=part["description"], kind=kind)
        for option in part.get("oneOf", [part]):
            own = option.get("properties", {}).get("kind", {}).get("const", kind)
            yield from keys_of(option, f"{prefix}{key}.", own, root)
        yield from keys_of(part.get("items", {}), f"{prefix}{key}[].", kind, root)


def type_text(schema: dict) -> str:
    """Type, range and choices; a value that may stand beside its origin has its own."""
    if "value" in schema.get("properties", {}):
        return type_text(schema["properties"]["value"])
    if "oneOf" in schema:
        return " or ".join(dict.fromkeys(map(type_text, schema["oneOf"])))
    if "const" in schema or "enum" in schema:
        return ", ".join(map(code, schema.get("enum", [schema.get("const")])))
    kinds = schema.get("type", "object")
    return " or ".join(_kind_text(kind, schema) for kind in ([kinds] if isinstance(kinds, str) else kinds))


def _kind_text(kind: str, schema: dict) -> str:
    if kind in ("integer", "number"):
        return f"{kind} {', '.join(f'{sign} {schema[key]:g}' for key, sign in BOUNDS.items() if key in schema)}".strip()
    if kind == "array":
        item, least, most = type_text(schema["items"]), schema.get("minItems", 0), schema.get("maxItems")
        count = f"{least} " if least == most else ""
        empty = "non-empty " if least and not count else ""
        return f"{empty}list of {count}{item if item.isalpha() else f'({item})'}"
    if kind == "string":
        return f"text matching `{schema['pattern']}`" if "pattern" in schema else "text"
    return {"object": "mapping"}.get(kind, kind)
