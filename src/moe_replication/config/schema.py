"""JSON Schema checks whose message names file, key, value, rule and remedy."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator
from pathlib import Path

from jsonschema import Draft202012Validator, ValidationError, validators

from moe_replication.config.plain_yaml import YamlFault, parse_yaml
from moe_replication.errors import BadInput

SCHEMAS = Path("workflow/schemas")
_LONGEST_VALUE = 80
_LARGEST_NUMBER = 2**63  # what tables and tensors hold


def read_yaml(path: Path) -> dict:
    """Read a YAML mapping; BadInput names a missing or malformed file."""
    value = read_yaml_value(path)
    if not isinstance(value, dict):
        raise BadInput(f"{path}: expected a mapping of keys, found {type(value).__name__}; write key: value lines")
    return value


def read_yaml_value(path: Path) -> object:
    """Read any YAML value; BadInput names a missing or malformed file."""
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        siblings = sorted(p.stem for p in path.parent.glob("*.yaml"))
        raise BadInput(f"{path}: no such file; choose one of {', '.join(siblings) or 'none present'}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8") from error
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); mend its place or its rights") from error
    except YamlFault as error:
        raise BadInput(f"{path}: not valid YAML {error}; mend the file") from error


@functools.cache
def validator(schema_path: Path) -> Draft202012Validator:
    """A validator for one schema file, built once."""
    return _Validator(read_yaml(schema_path))


def validate(value: object, schema_path: Path, source: str) -> None:
    """Raise BadInput for the first violation; `source` says which file or run the value came from."""
    errors = sorted(validator(schema_path).iter_errors(value), key=lambda e: [str(p) for p in e.absolute_path])
    if errors:
        raise BadInput(_one_line(_message(_most_specific(errors[0]), schema_path, source)))


def read_checked(root: Path | str, file: str, schema: str) -> dict:
    """A YAML mapping below `root`; BadInput when it breaks workflow/schemas/{schema}.schema.yaml."""
    found = read_yaml(Path(root, file))
    validate(found, Path(root, SCHEMAS, f"{schema}.schema.yaml"), file)
    return found


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


def _one_line(text: str) -> str:
    """A name in a file may hold line breaks."""
    return " ".join(text.split())


def _is_number(_: object, value: object) -> bool:
    """JSON Schema has neither NaN nor infinity, which slip through every bound."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) if isinstance(value, float) else abs(value) < _LARGEST_NUMBER


def _is_integer(_: object, value: object) -> bool:
    """Without 3.0, which would become a part of a file name."""
    return isinstance(value, int) and _is_number(_, value)


def _whole_pattern(_: object, pattern: str, value: object, __: object) -> Iterator[ValidationError]:
    """JSON Schema's `$` is the end of the text; Python's would let a line break pass before it."""
    strict = pattern.removesuffix("$") + r"\Z" if pattern.endswith("$") else pattern
    if isinstance(value, str) and not re.search(strict, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


_Validator = validators.extend(
    Draft202012Validator,
    {"pattern": _whole_pattern},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many({"number": _is_number, "integer": _is_integer}),
)
