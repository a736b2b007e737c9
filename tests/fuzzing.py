"""Damage to settings, records and files, and what must come of it: one line that names the fault, nothing else changed.

FUZZ_ROUNDS=n draws n times as many cases, anew in every call; without it the same cases are drawn each time.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moe_replication import cli
from moe_replication.errors import BadInput

ROOT = Path(__file__).parents[1]
PAPERS = ("expert-threshold", "expert-ecology")
ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "1"))
# What hardly any setting or record may hold.
POISON = (None, {}, [], {"a": 1}, [[]], "", " ", "\x07", "a\nb", "../../x", "1e3", True, -1, 0, 3.0, 1e300,
          float("nan"), float("inf"), 10**400, "x" * 300)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One change to a tree of mappings and lists, at `path`."""

    kind: str
    path: tuple
    value: object = None

    def __str__(self) -> str:
        value = "" if self.kind in ("drop", "rename") else f" {str(self.value)[:40]!r}"
        return f"{self.kind} {'/'.join(map(str, self.path))}{value}"

    def apply(self, tree: object) -> object:
        """A changed copy."""
        tree = copy.deepcopy(tree)
        *parents, last = self.path
        level = tree
        for key in parents:
            level = level[key]
        if self.kind == "drop":
            del level[last]
        elif self.kind == "rename":
            level[f"{last}x"] = level.pop(last)
        elif self.kind == "add":
            level[last]["unheard-of"] = self.value
        else:
            level[last] = self.value
        return tree


# Every ledger of this process, with its suite.
LEDGERS: list[tuple[str, Ledger]] = []


class Ledger:
    """The distinct cases of a test and what came of each: the message that refused it, None where it did no harm."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str | None] = {}
        LEDGERS.append((Path(os.environ["PYTEST_CURRENT_TEST"].partition("::")[0]).stem, self))

    def note(self, case: object, message: str | None) -> None:
        self.outcomes[str(case)] = message

    def expect(self, refused: int) -> None:
        """At least this many distinct cases were refused."""
        found = [message for message in self.outcomes.values() if message]
        assert len(found) >= refused, f"only {len(found)} of {len(self.outcomes)} cases were refused"


def drawn(count: int) -> settings:
    """Settings of a fuzz test that draws `count` cases a round."""
    return settings(
        max_examples=count * ROUNDS,
        derandomize=ROUNDS == 1,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def changes(tree: object) -> st.SearchStrategy[Change]:
    """Drop, rename or add a key, or put something else in a place, anywhere in a tree."""
    paths = list(_paths(tree))
    places = [path for path, _ in paths]
    keys = [path for path in places if isinstance(path[-1], str)]
    inner = [path for path, value in paths if isinstance(value, dict)]
    poison = st.sampled_from(POISON)
    options = [
        st.builds(Change, st.just("put"), st.sampled_from(places), poison),
        st.builds(Change, st.sampled_from(["drop", "rename"]), st.sampled_from(keys)),
    ]
    if inner:
        options.append(st.builds(Change, st.just("add"), st.sampled_from(inner), poison))
    return st.one_of(options)


def damages() -> st.SearchStrategy[tuple[str, float, int]]:
    """Kind, place (a part of the length) and a byte: what `damaged` does to the bytes of a file."""
    kinds = st.sampled_from(["cut", "flip", "zeros", "insert", "repeat", "head", "replace"])
    return st.tuples(kinds, st.floats(0, 0.999), st.integers(1, 255))


def damaged(content: bytes, damage: tuple[str, float, int]) -> bytes:
    """The bytes after one of `damages`; always others than before."""
    kind, part, byte = damage
    place = int(part * len(content))
    flipped = content[:place] + bytes([content[place] ^ byte]) + content[place + 1 :]
    changed = {
        "cut": content[:place],
        "zeros": content[:place] + bytes(min(64, len(content) - place)) + content[place + 64 :],
        "insert": content[:place] + bytes([byte]) * 16 + content[place:],
        "repeat": content[:place] + content,
        "head": content[place + 1 :],
        "replace": bytes([byte]) * (place + 1),
    }.get(kind, flipped)
    return changed if changed != content else flipped


def outcome(call: Callable[[], object], root: Path) -> str | None:
    """Message of a BadInput, which is one line and leaves every file below `root`; None where the call went through.

    Any other exception is the test's failure.
    """
    before = files_below(root)
    try:
        call()
    except BadInput as error:
        _check(str(error), root, before)
        return str(error)
    return None


def command(root: Path, *arguments: str) -> str | None:
    """`outcome` of `moe-replication` in `root`: a refusal ends with exit code 2 and its line on standard error."""
    before, told, argv = files_below(root), io.StringIO(), sys.argv
    sys.argv = ["moe-replication", *arguments]
    try:
        with contextlib.chdir(root), contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
            cli.main()
        code = 0
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv = argv
    if not code:
        return None
    message = told.getvalue().removeprefix("error: ").removesuffix("\n")
    assert code == 2, message
    _check(message, root, before)
    return message


def small_project(root: Path) -> Path:
    """config/ and the schemas, the smoke scale with two conditions a paper, no claims."""
    shutil.copytree(ROOT / "config", root / "config")
    shutil.copytree(ROOT / "workflow/schemas", root / "workflow/schemas")
    for path in (root / "config/claims").iterdir():
        path.unlink()
    scale = plain(root / "config/scales/smoke.yaml")
    for paper, conditions in zip(PAPERS, (["tc", "et"], ["v1", "l1"]), strict=True):
        scale["papers"][paper] |= {"conditions": conditions}
        scale["papers"][paper].pop("conditions_set", None)
    (root / "config/scales/smoke.yaml").write_text(yaml.safe_dump(scale, sort_keys=False), encoding="utf-8")
    return root


def plain(path: Path) -> object:
    """A YAML file without shared parts."""
    return json.loads(json.dumps(yaml.safe_load(path.read_text(encoding="utf-8"))))


@contextlib.contextmanager
def restored(path: Path) -> Iterator[None]:
    """The file's bytes come back, whatever is done to it."""
    content = path.read_bytes()
    try:
        yield
    finally:
        path.write_bytes(content)


def fuzz_tree(path: Path, read: Callable[[], str | None], count: int) -> Ledger:
    """`read` after each of `count` changes to a YAML file, which is restored."""
    tree = plain(path)
    return _fuzz(
        path, changes(tree), lambda change: yaml.dump(change.apply(tree), Dumper=yaml.CSafeDumper).encode(), read, count
    )


def fuzz_json(path: Path, read: Callable[[], str | None], count: int) -> Ledger:
    """`read` after each of `count` changes to a JSON file, which is restored."""
    tree = json.loads(path.read_bytes())
    return _fuzz(path, changes(tree), lambda change: json.dumps(change.apply(tree)).encode(), read, count)


def fuzz_bytes(path: Path, read: Callable[[], str | None], count: int) -> Ledger:
    """`read` after each of `count` damages to the bytes of a file, which is restored."""
    content = path.read_bytes()
    return _fuzz(path, damages(), lambda damage: damaged(content, damage), read, count)


def _fuzz(
    path: Path, cases: st.SearchStrategy, written: Callable[..., bytes], read: Callable[[], str | None], count: int
) -> Ledger:
    ledger = Ledger()

    @drawn(count)
    @given(cases)
    def check(case):
        path.write_bytes(written(case))
        ledger.note(case, read())

    with restored(path):
        check()
    return ledger


def files_below(root: Path) -> dict[str, tuple | None]:
    """What is there: mode, size and time of files; folders by name."""
    found: dict[str, tuple | None] = {}
    for path in root.rglob("*"):
        state = path.lstat()
        folder = path.is_dir() and not path.is_symlink()
        found[str(path.relative_to(root))] = None if folder else (state.st_mode, state.st_size, state.st_mtime_ns)
    return found


def _check(message: str, root: Path, before: dict) -> None:
    assert message.strip()
    assert "\n" not in message, message
    assert files_below(root) == before


def _paths(tree: object, above: tuple = ()) -> Iterator[tuple[tuple, object]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield (*above, key), value
        yield from _paths(value, (*above, key))
