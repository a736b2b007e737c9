"""The pages of docs/reference say what schemas, command line and records say today."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import yaml

import generate
from generator.command_line import commands
from generator.markdown import code
from generator.schema_keys import keys_of
from moe_replication.training import record

ROOT = Path(__file__).parents[2]
TEXT = {name: (ROOT / generate.OUT / name).read_text(encoding="utf-8") for name in generate.PAGES}
SCHEMAS = sorted(path for path in (ROOT / "workflow/schemas").glob("*.yaml"))
KEYWORDS = {
    "$schema", "$ref", "$defs", "description", "type", "properties", "additionalProperties", "propertyNames",
    "required", "enum", "const", "oneOf", "allOf", "if", "then", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "items", "minItems", "maxItems", "uniqueItems", "pattern", "minLength", "minProperties",
    "maxLength",
}  # fmt: skip


def _schema(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _parts(schema: object) -> Iterator[dict]:
    """A schema and every schema within it."""
    if isinstance(schema, dict):
        yield schema
        named = [part for key in ("properties", "$defs") for part in schema.get(key, {}).values()]
        single = [schema[key] for key in ("items", "additionalProperties", "if", "then") if key in schema]
        for part in (*named, *single, *schema.get("oneOf", []), *schema.get("allOf", [])):
            yield from _parts(part)


def _first_cells(text: str, heading: str) -> list[str]:
    """First column of the table under a heading, without backticks."""
    section = text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^\| `([^`]+)` \|", section, re.M)


def _documented(name: str, cells: list[str]) -> bool:
    """Whether a table names a column, or a pattern with a word in capitals that fits it."""
    return any(re.fullmatch(re.sub("N$|[A-Z]{2,}", r"\\w+", cell), name) for cell in cells)


@pytest.mark.parametrize("name", generate.PAGES)
def test_the_page_is_current(name):
    assert TEXT[name] == generate.page_text(name), "run python docs/generate.py"


def test_check_names_stale_pages_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "PAGES", {"one.md": lambda: "# One\n\n", "two.md": lambda: "# Two\n"})
    monkeypatch.setattr("sys.argv", ["generate.py"])
    (tmp_path / generate.OUT).mkdir(parents=True)
    assert generate.main() == 0
    (tmp_path / generate.OUT / "two.md").write_text("# Old\n")
    capsys.readouterr()
    monkeypatch.setattr("sys.argv", ["generate.py", "--check"])
    assert generate.main() == 1
    assert capsys.readouterr().out == "docs/reference/two.md: not current; run python docs/generate.py\n"
    assert (tmp_path / generate.OUT / "two.md").read_text() == "# Old\n"


def test_every_setting_of_a_run_is_on_the_page():
    keys = list(keys_of(_schema(ROOT / "workflow/schemas/run.schema.yaml")))
    assert len(keys) > 100
    for key in keys:
        if "." in key.name or key.name == "task":
            assert f"| {code(key.name)} | {key.type} |" in TEXT["config.md"], key.name


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name.partition(".")[0])
def test_schemas_have_known_keywords_and_describe_every_key(path):
    schema = _schema(path)
    # A description with an unquoted comma within braces would become a key of its own.
    assert all(set(part) <= KEYWORDS for part in _parts(schema))
    schema.pop("allOf", None)
    for part in _parts(schema):
        for name, inner in part.get("properties", {}).items():
            assert name in ("value", "origin") or "description" in inner, name


def test_every_command_and_option_is_on_the_page():
    found = dict(commands())
    assert {"train", "prepare tokens", "collect-probes"} <= set(found)
    for name, command in found.items():
        section = TEXT["cli.md"].split(f"\n## {name}\n", 1)[1].split("\n## ", 1)[0]
        assert f"```bash\nmoe-replication {name}" in section, name
        for parameter in command.params:
            for option in parameter.opts:
                assert f"`{option}`" in section or f"`{option.upper()}" in section, (name, option)


@pytest.mark.parametrize(
    ("paper", "condition"),
    [("expert-threshold", "et"), ("expert-threshold", "dense"), ("expert-ecology", "v1"), ("expert-ecology", "l1")],
)
def test_fields_of_a_record_are_on_the_page(paper, condition, write_run, tmp_path):
    folder = write_run(tmp_path, paper, condition, 0)
    text = TEXT["record.md"]
    content = json.loads((folder / "run.json").read_text())
    names = [*content, *(f"{part}.{name}" for part in ("run", "settings", "counts") for name in content[part])]
    assert set(names) <= set(_first_cells(text, "run.json"))
    assert all(_documented(name, _first_cells(text, "metrics")) for name in content["metrics"])
    for file in ("cost.json", "environment.json"):
        assert set(json.loads((folder / file).read_text())) <= set(_first_cells(text, file))
    for file in ("curve.parquet", "experts.parquet"):
        cells = _first_cells(text, file)
        assert all(_documented(name, cells) for name in pl.read_parquet_schema(folder / file)), file


def test_whatever_training_writes_into_a_record_is_on_the_page():
    tree = ast.parse(Path(record.__file__).read_text(encoding="utf-8"))
    written = {
        function.name: {key.value for node in ast.walk(function) if isinstance(node, ast.Dict) for key in node.keys}
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        and function.name in ("run_record", "_settings", "_derived", "_counts", "environment")
    }
    assert len(written) == 5
    fields = {name.rpartition(".")[2] for name in _first_cells(TEXT["record.md"], "run.json")}
    assert set.union(*(names for name, names in written.items() if name != "environment")) <= fields
    assert written["environment"] <= set(_first_cells(TEXT["record.md"], "environment.json"))
