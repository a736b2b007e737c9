"""config.yaml with what the command line lays over it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

from moe_replication.config.plain_yaml import YamlFault, parse_yaml
from moe_replication.config.schema import read_yaml, validate
from moe_replication.errors import BadInput

CONFIG = Path("config/config.yaml")
# Overrides as JSON (dotted keys), set by the workflow for the commands that it runs.
OVERRIDES_VARIABLE = "MOE_REPLICATION_OVERRIDES"
SCHEMA = Path("workflow/schemas/config.schema.yaml")


def parse_overrides(items: Iterable[str]) -> dict:
    """`a.b=value` strings (YAML values) as a nested mapping; BadInput for anything else."""
    nested: dict = {}
    for item in items:
        key, found, text = item.partition("=")
        if not found or not key:
            raise BadInput(f"--set {item}: expected key=value, for example --set scale=smoke")
        try:
            value = parse_yaml(text)
        except YamlFault as error:
            raise BadInput(f"--set {item}: the value is not valid YAML {error}; quote it") from error
        *parents, last = key.split(".")
        level = nested
        for name in parents:
            level = level.setdefault(name, {})
            if not isinstance(level, dict):
                raise BadInput(f"--set {item}: {name} was given a value of its own; give one or the other")
        level[last] = value
    return nested


def inherited_overrides() -> list[str]:
    """What the workflow that runs this command lays over config.yaml, as `a.b=value` strings."""
    return [f"{key}={json.dumps(value)}" for key, value in json.loads(os.environ.get(OVERRIDES_VARIABLE, "{}")).items()]


def read_settings(root: Path, overrides: dict) -> dict:
    """config.yaml below `root` with `overrides` laid over it, checked against its schema."""
    if not (root / CONFIG).is_file():
        raise BadInput(f"{CONFIG}: no such file in {root.resolve()}; run from the project's folder")
    settings = _merged(read_yaml(root / CONFIG), _scalars(overrides))
    for name in ("papers", "conditions", "seeds"):
        if settings.get(name) is not None and not isinstance(settings[name], list):
            settings[name] = [settings[name]]
    validate(settings, root / SCHEMA, "config.yaml and overrides" if overrides else str(CONFIG))
    return settings


def changed_settings(root: Path, settings: dict) -> dict[str, object]:
    """Dotted keys of `settings` that differ from config/config.yaml on disk."""
    return _differences(read_yaml(root / CONFIG), settings)


def _scalars(value: object) -> object:
    """Booleans, null and whole numbers that Snakemake's command line handed over as strings."""
    if isinstance(value, dict):
        return {key: _scalars(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_scalars(item) for item in value]
    if isinstance(value, str):
        known = {"true": True, "false": False, "null": None}
        return known.get(value.lower(), int(value) if re.fullmatch(r"-?[0-9]{1,18}", value) else value)
    return value


def _merged(base: dict, over: dict) -> dict:
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], value) if both else value
    return result


def _differences(base: dict, over: dict, prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in over.items():
        below = base.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            found |= _differences(below, value, f"{prefix}{key}.")
        elif value != below:
            found[prefix + key] = value
    return found
