"""The page of settings: every key of config/, both papers' defaults for a run, recipes and conditions."""

from __future__ import annotations

from generator.markdown import PAPERS, ROOT, WORDS, code, lines, prose, schema, table
from generator.schema_keys import keys_of
from moe_replication.config.matrix import read_paper
from moe_replication.config.overlays import Leaf, lay_over, read_layer
from moe_replication.config.recipes import recipe_difference, recipe_tree
from moe_replication.config.schema import read_yaml

# Paper B's defaults are those of its vision runs; this condition's settings stand for its language runs.
LANGUAGE = "l1"
FILES = {
    "config": "config/config.yaml",
    "scale": "config/scales/*.yaml",
    "paper": "config/papers/*.yaml",
    "analysis": "config/analysis.yaml",
    "probe": "config/probe.yaml",
    "core": "config/core.yaml",
    "safety": "config/safety.yaml",
    "scheduling": "config/scheduling.yaml",
    "planning": "config/planning.yaml",
    "data_sets": "config/data_sets.yaml",
    "corpus": "config/corpora/embedded.yaml",
    "domains": "config/corpora/domains.yaml",
}
# Schemas whose file has one value a key, shown beside it.
VALUED = ("config", "analysis", "probe", "core", "safety", "scheduling")


def settings_page() -> str:
    """docs/reference/config.md."""
    papers = {title: read_paper(ROOT, name) for title, name in PAPERS.items()}
    parts = [f"# Settings\n\n{WORDS['intro']['config']}\n"]
    parts += [f"## {file.replace('*', 'NAME')}\n\n{_file_table(name, file)}" for name, file in FILES.items()]
    parts += [f"## Settings of a run\n\n{WORDS['intro']['run']}\n", _run_settings(papers)]
    parts += [f"## Recipes of paper A\n\n{_recipes(papers['Paper A'])}"]
    parts += [f"## Conditions of {title}\n\n{_conditions(paper)}" for title, paper in papers.items()]
    return "".join(parts)


def _file_table(name: str, file: str) -> str:
    found = _leaves(read_layer(read_yaml(ROOT / file), "")) if name in VALUED else {}
    rows = (
        (code(key.name), key.type, *([_cell(found.get(key.name))] if found else []), prose(key.meaning))
        for key in keys_of(schema(name))
    )
    return table(("Key", "Type", *(["Value"] if found else []), "Meaning"), rows)


def _run_settings(papers: dict[str, dict]) -> str:
    """A table for each section of a run's settings, for each of its kinds where there are several."""
    trees = [recipe_tree(paper, "paper") for paper in papers.values()]
    own = read_layer(papers["Paper B"]["conditions"][LANGUAGE]["set"], LANGUAGE)
    a, b, language = map(_leaves, (*trees, lay_over(trees[1], own)))
    text = ""
    for name, part in schema("run")["properties"].items():
        section, *keys = keys_of({"properties": {name: part}})
        # Where a paper leaves a section out, null stands in place of its keys.
        keys = [section, *keys] if name in a | b else keys
        text += f"### {name}\n\n{prose(section.meaning)}\n\n"
        for kind in dict.fromkeys(key.kind for key in keys):
            fitting = [tree if not kind or tree[f"{name}.kind"].value == kind else {} for tree in (a, b, language)]
            rows = []
            for key in (key for key in keys if key.kind == kind):
                of_a, vision, other = (tree.get(key.name) for tree in fitting)
                of_b = lines(_cell(vision), _cell(other, "language: ") if other != vision else "")
                rows.append((code(key.name), key.type, prose(key.meaning), _cell(of_a), of_b))
            text += table(("Key", "Type", "Meaning", *papers), rows)
    return text


def _recipes(paper: dict) -> str:
    rows = (
        (
            code(row.key),
            _cell(Leaf(value=row.value_a, origin=row.origin_a)),
            _cell(Leaf(value=row.value_b, origin=row.origin_b)),
        )
        for row in recipe_difference(paper, "paper", "released")
    )
    return table(("Key", "`paper`", "`released`"), rows)


def _conditions(paper: dict) -> str:
    rows = []
    for name, row in paper["conditions"].items():
        baseline = row.get("baseline", paper["default_baseline"])
        shown = code(baseline) if baseline not in (None, name) else ""
        rows.append((code(name), prose(row["title"]), prose(", ".join(row["rows"])), shown))
    return table(("Condition", "Title", "Feeds", "Baseline"), rows)


def _leaves(tree: dict, prefix: str = "") -> dict[str, Leaf]:
    found: dict[str, Leaf] = {}
    for key, item in tree.items():
        found |= {prefix + key: item} if isinstance(item, Leaf) else _leaves(item, f"{prefix}{key}.")
    return found


def _cell(leaf: Leaf | None, label: str = "") -> str:
    """A value with its origin below it."""
    return lines(label + code(leaf.value), prose(leaf.origin)) if leaf else ""
