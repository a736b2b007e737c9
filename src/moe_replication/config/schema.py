"""JSON Schema checks whose message names file, key, value, rule and remedy."""

from __future__ import annotations

import functools
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator, ValidationError

from moe_replication.errors import BadInput

SCHEMAS = Path("workflow/schemas")
_LONGEST_VALUE = 80
# The safe loader's C version, ten times as fast, where PyYAML was built with it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_yaml(text: str) -> object:
    """Plain values of a YAML text; raises yaml.YAMLError."""
    return yaml.load(text, Loader=_LOADER)


def read_yaml(path: Path) -> dict:
    """Read a YAML mapping; BadInput names a missing or malformed file."""
    try:
        value = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        siblings = sorted(p.stem for p in path.parent.glob("*.yaml"))
        raise BadInput(f"{path}: no such file; choose one of {', '.join(siblings) or 'none present'}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        raise BadInput(f"{path}: not valid YAML{line} ({getattr(error, 'problem', error)}); mend the file") from error
    if not isinstance(value, dict):
        raise BadInput(f"{path}: expected a mapping of keys, found {type(value).__name__}")
    return value


@functools.cache
def validator(schema_path: Path) -> Draft202012Validator:
    """A validator for one schema file, built once."""
    return Draft202012Validator(read_yaml(schema_path))


def validate(value: object, schema_path: Path, source: str) -> None:
    """Raise BadInput for the first violation; `source` says which file or run the value came from."""
    errors = sorted(validator(schema_path).iter_errors(value), key=lambda e: [str(p) for p in e.absolute_path])
    if errors:
        raise BadInput(_message(_most_specific(errors[0]), schema_path, source))


def _most_specific(error: ValidationError) -> ValidationError:
    """Of a failed oneOf, the violation in the branch that the value's `kind` chose."""
    while error.context:
        branches: dict[int, list[ValidationError]] = {}
        for inner in error.context:
            branches.setdefault(inner.schema_path[0], []).append(inner)
        wrong_kind = {b for b, found in branches.items() for e in found if list(e.path)[-1:] == ["kind"]}
        typed = [found for b, found in branches.items() if b not in wrong_kind and found[0].validator != "type"]
        error = (typed or list(branches.values()))[0][0]
    return error


def _message(error: ValidationError, schema_path: Path, source: str) -> str:
    key = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = sorted(set(error.instance) - set(known))
        full = ", ".join(f"{key}.{name}".lstrip(".") for name in unknown)
        return f"{source}: unknown key {full}; known here: {', '.join(known)}"
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        full = ", ".join(f"{key}.{name}".lstrip(".") for name in missing)
        return f"{source}: missing key {full}; add it (see {schema_path.name})"
    shown = repr(error.instance)
    if len(shown) > _LONGEST_VALUE:
        shown = shown[:_LONGEST_VALUE] + "..."
    return f"{source}: {key or 'the file'} = {shown} breaks the rule {_rule(error)}; change it"


def _rule(error: ValidationError) -> str:
    named = {"enum": "one of", "const": "equal to", "minimum": ">=", "maximum": "<=", "exclusiveMinimum": ">",
             "exclusiveMaximum": "<", "type": "of type", "minItems": "at least this many items:",
             "maxItems": "at most this many items:", "pattern": "matching"}  # fmt: skip
    if error.validator == "uniqueItems":
        return "'no item twice'"
    value = error.validator_value
    shown = ", ".join(str(v) for v in value) if isinstance(value, list) else value
    return f"'{named.get(error.validator, error.validator)} {shown}'"
