"""The `figures` section of a paper: what it may name, and the code that a figure depends on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from moe_replication.config.figures import figure_code, read_figures
from moe_replication.config.fingerprint import PACKAGE
from moe_replication.config.schema import read_yaml, validate
from moe_replication.errors import BadInput

SCHEMA = Path(__file__).parents[2] / "workflow/schemas/paper.schema.yaml"
GOOD = {"draw": "loss.draw_pool", "tables": ["runs", "probe-metrics"]}


def test_an_entry_says_what_draws_it_and_what_it_writes():
    (entry,) = read_figures({"a-x": GOOD | {"also": ["md"]}}, "here").values()
    assert (entry.module, entry.function, entry.tables) == ("loss", "draw_pool", ("runs", "probe-metrics"))
    assert entry.suffixes == ("png", "pdf", "csv", "md")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"draw": "lost.draw_pool"}, r"here: figures\.a-x\.draw = 'lost\.draw_pool': no module of figures 'lost'"),
        ({"draw": "loss.draw_pol"}, r"no function of figures/loss\.py 'draw_pol'; did you mean draw_pool\?"),
        ({"draw": "loss._draw"}, r"no function of figures/loss\.py '_draw'"),
        ({"tables": ["run"]}, r"here: figures\.a-x\.tables: no table 'run'; did you mean runs\?"),
        ({"tables": ["probe-fan_out"]}, r"no table 'probe-fan_out'; did you mean probe-fanout\?"),
    ],
)
def test_what_does_not_exist_is_refused_by_name(change, message):
    with pytest.raises(BadInput, match=message):
        read_figures({"a-x": GOOD | change}, "here")


@pytest.mark.parametrize("row", [GOOD | {"draw": "loss"}, GOOD | {"also": ["exe"]}, {"draw": "a.b"}])
def test_the_schema_refuses_another_shape(row):
    paper = read_yaml(SCHEMA.parents[2] / "config/papers/expert-threshold.yaml")
    with pytest.raises(BadInput, match="figures"):
        validate(paper | {"figures": {"a-x": row}}, SCHEMA, "here")


def test_a_figure_depends_on_all_that_its_module_imports_and_no_more():
    (entry,) = read_figures({"a-x": GOOD | {"draw": "cutoff.draw"}}, "here").values()
    code = figure_code(entry.module)
    assert {"figures/cutoff.py", "figures/style.py", "figures/tables.py", "statistics/intervals.py"} <= set(code)
    assert "figures/paper_values.py" in code
    assert not {"figures/loss.py", "figures/build.py", "cli.py"} & set(code)
    assert not [file for file in code if file.startswith("training/")]


def test_imports_are_followed_through_other_modules(tmp_path):
    package = tmp_path / "moe_replication"
    shutil.copytree(PACKAGE / "figures", package / "figures")
    (package / "figures" / "one.py").write_text("from moe_replication.figures import two\ndef draw(a, b, c): pass\n")
    (package / "figures" / "two.py").write_text("import moe_replication.figures.three\n")
    (package / "figures" / "three.py").write_text("")
    (entry,) = read_figures({"a-x": GOOD | {"draw": "one.draw"}}, "here", package).values()
    assert {"figures/one.py", "figures/two.py", "figures/three.py"} <= set(figure_code(entry.module, package))
