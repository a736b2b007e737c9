"""The page of records and tables: fields and columns that the code reads, with words for each."""

from __future__ import annotations

from generator.markdown import WORDS, WORDS_FILE, code, prose, schema, table
from generator.schema_keys import keys_of
from moe_replication.errors import BadInput
from moe_replication.statistics import collect

# Section of the page -> what statistics/collect.py demands of that file or table.
DEMANDED = {
    "run.json": (
        *collect.RECORD,
        *(f"run.{name}" for name in (*collect.IDENTITY, "run_key")),
        *(f"settings.{name}" for name in collect.ALL_SETTINGS),
        *(f"counts.{name}" for name in collect.COUNTS),
    ),
    "metrics": collect.LEADING_METRICS,
    "curve.parquet": collect.CURVE_KEYS,
    "experts.parquet": collect.EXPERT_KEYS,
    "cost.json": ("wall_seconds", "tokens_per_second", *collect.COST),
    "environment.json": ("git_commit", "dtype", "claims", *collect.MACHINE),
    "registered-claims.parquet": tuple(collect.REGISTERED),
}
COLUMNS = collect.LEADING | collect.TABLE_TYPES | collect.REGISTERED
TYPES = {
    "String": "text",
    "Int64": "integer",
    "Float64": "number",
    "Boolean": "boolean",
    "List(String)": "list of text",
    "List(Int64)": "list of integers",
}


def records_page() -> str:
    """docs/reference/record.md; BadInput where a field that the code demands has no words."""
    parts, found = [f"# Records and tables\n\n{WORDS['intro']['record']}\n"], {}
    for section, demanded in DEMANDED.items():
        meanings = WORDS[section]
        if missing := sorted(set(demanded) - set(meanings)):
            raise BadInput(f"{WORDS_FILE}: {section} lacks {', '.join(missing)}; say what they mean")
        rows = ((code(name), _type(name), prose(meaning)) for name, meaning in meanings.items())
        parts.append(_part(section, ("Name", "Type", "Meaning"), rows))
        for name, meaning in meanings.items():
            found.setdefault(name.rpartition(".")[2], (f"{section}: {code(name)}", meaning))
    found |= {name: ("collect", meaning) for name, meaning in WORDS["runs.parquet"].items()}
    rows = ((code(name), _type(name), found[name][0], prose(found[name][1])) for name in collect.LEADING)
    parts.append(_part("runs.parquet", ("Column", "Type", "From", "Meaning"), rows))
    rows = ((code(key.name), key.type, prose(key.meaning)) for key in keys_of(schema("plan")))
    parts.append(_part("plan", ("Key", "Type", "Meaning"), rows))
    return "".join(parts)


def _part(section: str, head: tuple[str, ...], rows: object) -> str:
    return f"## {section}\n\n{prose(WORDS['sections'][section])}\n\n{table(head, rows)}"


def _type(name: str) -> str:
    return WORDS["types"].get(name) or TYPES[str(COLUMNS.get(name.rpartition(".")[2], collect.REAL))]
