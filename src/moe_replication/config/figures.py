"""The figures of config/papers/*.yaml: what draws each, from which tables, and the code that it depends on."""

from __future__ import annotations

import ast
import difflib
import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from moe_replication.config.fingerprint import PACKAGE
from moe_replication.config.syntax import statements, syntax
from moe_replication.errors import BadInput

# Tables below results/{scale}: of the training runs, and collected from the probes of their checkpoints (of paper A,
# and the temperature scan of paper B), from CORE and from their scalars.
RUN_TABLES = ("runs", "curves", "experts", "comparisons")
PROBE_TABLES = (
    "fanout", "consistency", "specialization", "histograms", "cutoffs", "shift", "zero_tokens", "token_map",
    "documents",
)  # fmt: skip
SCAN_TABLES = ("temperature",)
COLLECTED_PROBES = tuple(f"probe-{table}" for table in (*PROBE_TABLES, *SCAN_TABLES, "core", "metrics"))
TABLES = (*RUN_TABLES, *COLLECTED_PROBES)
SUFFIXES = ("png", "pdf", "csv")  # every figure has these; `also` adds to them


@dataclass(frozen=True, kw_only=True, slots=True)
class FigureEntry:
    """One figure: function `function` of figures/{module}.py, its tables and its further files' suffixes."""

    module: str
    function: str
    tables: tuple[str, ...]
    also: tuple[str, ...]

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Every file that drawing writes, by suffix."""
        return (*SUFFIXES, *self.also)


def read_figures(section: dict[str, dict], source: str, package: Path = PACKAGE) -> dict[str, FigureEntry]:
    """The `figures` section of a paper; BadInput for a module, function or table that does not exist."""
    return {name: _entry(name, row, source, package) for name, row in section.items()}


def figure_code(module: str, package: Path = PACKAGE) -> tuple[str, ...]:
    """Files of the package that figures/{module}.py depends on: itself and all that it imports."""
    found: set[str] = set()
    waiting = [f"figures/{module}.py", "figures/paper_values.py"]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += _imports(file, package)
    return tuple(sorted(found))


def _entry(name: str, row: dict, source: str, package: Path) -> FigureEntry:
    module, _, function = row["draw"].partition(".")
    where = f"{source}: figures.{name}"
    file = package / "figures" / f"{module}.py"
    if not file.is_file():
        known = (path.stem for path in file.parent.glob("[a-z]*.py"))
        raise BadInput(f"{where}.draw = {row['draw']!r}: {_unknown('module of figures', module, known)}")
    functions = re.findall(r"^def (\w+)\(", file.read_text(encoding="utf-8"), re.MULTILINE)
    if function not in functions:
        raise BadInput(
            f"{where}.draw = {row['draw']!r}: {_unknown(f'function of figures/{module}.py', function, functions)}"
        )
    for table in row["tables"]:
        if table not in TABLES:
            raise BadInput(f"{where}.tables: {_unknown('table', table, TABLES)}")
    return FigureEntry(module=module, function=function, tables=tuple(row["tables"]), also=tuple(row.get("also", ())))


@functools.cache
def _imports(file: str, package: Path) -> tuple[str, ...]:
    names = []
    for node in statements(syntax(package / file)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    own = (name.split(".")[1:] for name in names if name.startswith(f"{PACKAGE.name}."))
    files = (f"{'/'.join(parts)}.py" for parts in own)
    return tuple(sorted({name for name in files if (package / name).is_file()}))


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
    return f"no {what} {name!r}; {hint}"
