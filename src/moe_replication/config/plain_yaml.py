"""YAML that holds plain values alone: a foreign file can neither run code nor fill the memory."""

from __future__ import annotations

import yaml

# The safe loader's C version, ten times as fast, where PyYAML was built with it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Far above what settings need: the C composer overflows the stack at some ten thousand levels.
_DEEPEST = 50
# Values after aliases are followed; a few lines of aliases of aliases stand for billions.
_MOST_VALUES = 200_000
_OPENING = (yaml.SequenceStartEvent, yaml.MappingStartEvent)
_CLOSING = (yaml.SequenceEndEvent, yaml.MappingEndEvent)
_PLAIN = (str, int, float, bool, type(None))


class YamlFault(yaml.YAMLError):
    """What is wrong with a YAML text and where, on one line, to stand behind the words 'not valid YAML'."""


def parse_yaml(text: str) -> object:
    """Plain values of a YAML text: text, numbers, booleans, null, lists, mappings by text.

    Raises YamlFault, also for a repeated key, a date, aliases in a circle or without end.
    """
    try:
        _check_depth(text)
        value = yaml.load(text, Loader=_Loader)
    except YamlFault:
        raise
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"at line {mark.line + 1} " if mark else ""
        words = getattr(error, "problem", None) or error
        raise YamlFault(f"{line}({' '.join(str(words).split())})") from error
    # What conversions of explicit tags and odd dates or numbers raise.
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise YamlFault(f"({' '.join(str(error).split())})") from error
    _count(value, {})
    return value


class _Loader(_LOADER):
    """The safe loader; it refuses a key that stands twice, of which the last would win, and keys that are no text."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        # Nodes are flattened again where they are merged into others, with the merged keys among their own.
        checked = self.__dict__.setdefault("_checked", set())
        if node not in checked:
            checked.add(node)
            _check_keys(node)
        super().flatten_mapping(node)


def _check_keys(node: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if key.tag == "tag:yaml.org,2002:merge":
            continue
        if key.tag != "tag:yaml.org,2002:str":
            problem = f"key {key.value!r} is no text; quote it"
            raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
        if key.value in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} stands twice", key.start_mark)
        seen.add(key.value)


def _check_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, _OPENING) - isinstance(event, _CLOSING)
        if depth > _DEEPEST:
            raise YamlFault(f"at line {event.start_mark.line + 1} (more than {_DEEPEST} levels)")


def _count(value: object, counts: dict[int, int | None]) -> int:
    """Values in a tree, each shared part as often as it stands there; `counts` is by identity, None while open."""
    if isinstance(value, _PLAIN):
        return 1
    if not isinstance(value, dict | list):
        raise YamlFault(f"({value!r} is a {type(value).__name__}; quote it)")
    if id(value) in counts:
        if counts[id(value)] is None:
            raise YamlFault("(an alias stands within its own anchor)")
        return counts[id(value)]
    counts[id(value)] = None
    items = value.values() if isinstance(value, dict) else value
    total = counts[id(value)] = 1 + sum(_count(item, counts) for item in items)
    if total > _MOST_VALUES:
        raise YamlFault(f"(its aliases stand for more than {_MOST_VALUES} values)")
    return total
