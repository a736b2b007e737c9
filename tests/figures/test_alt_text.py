"""Descriptions of the pictures from captions and CSV files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from moe_replication.config import load_project
from moe_replication.errors import BadInput
from moe_replication.figures.alt_text import alt_text, first_sentence, sample_text

ROOT = Path(__file__).parents[2]
FIGURES = load_project(ROOT, {"scale": "smoke"}).figures
CAPTION = """Paper B at scale ``{{ snakemake.config["scale"] }}``: dead experts under
1 % of E = 0.5. Every run is a dot.
"""
LONGEST = 300  # characters of a caption's first sentence: listeners cannot skim


def described(root: Path, table: str, name: str = "b-made-up") -> str:
    """Alt text of a figure with caption CAPTION and this CSV."""
    for path, text in ((f"workflow/report/{name}.rst", CAPTION), (f"figures/demo/{name}.csv", table)):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return alt_text(root, "demo", name)


def test_caption_and_csv_make_two_sentences(tmp_path):
    table = (
        "source,condition,seed,measure,value,n\n"
        "run,v1,0,dead_experts,2,\nrun,v1,1,dead_experts,4,\nrun,v2,0,dead_experts,0,\nmean,v1,,dead_experts,3,2\n"
        "run,v1,0,usage_entropy,0.5,\nrun,v1,1,usage_entropy,0.75,\npaper,v1,,dead_experts,99,\n"
    )
    assert described(tmp_path, table) == (
        "Paper B at scale demo: dead experts under 1 % of E = 0.5. "
        "Drawn: conditions v1, v2; n = 1 to 2 seeds; dead experts 0 to 4, usage entropy 0.5 to 0.75; "
        "open markers for the paper's own values (1)."
    )


def test_without_a_row_a_seed_the_stated_n_and_the_one_measure_are_told(tmp_path):
    text = described(tmp_path, "condition,epoch,n,mean\nv1,1,3,0.25\nv1,2,3,0.25\n")
    assert text.endswith("Drawn: condition v1; n = 3; values 0.25.")


def test_sample_is_the_n_of_the_csv_and_nothing_where_it_counts_none(tmp_path):
    described(tmp_path, "condition,n,mean\nv1,3,0.25\nv2,0,\n")
    assert sample_text(tmp_path, "demo", "b-made-up") == "n = 3; condition v1"
    described(tmp_path, "condition,val_loss_n,mean\nv1,2,0.25\nv2,0,\n")
    assert sample_text(tmp_path, "demo", "b-made-up") == "n = 2; condition v1"
    described(tmp_path, "condition,n,mean\nv1,,0.25\nv2,,\n")
    assert sample_text(tmp_path, "demo", "b-made-up") == ""


def test_many_conditions_and_measures_are_counted_not_listed(tmp_path):
    rows = "".join(f"c{n},0,m{n},{n}\n" for n in range(5))
    assert described(tmp_path, f"condition,seed,measure,value\n{rows}").endswith("Drawn: 5 conditions; n = 1 seed.")


def test_a_table_tells_its_rows_and_what_has_no_conditions_does_too(tmp_path):
    table = "question,p,value\na,0.5,1.0\nb,0.1,1.0\n"
    assert described(tmp_path, table, "b-table-made-up").endswith("Table: 2 rows; values 1.")
    assert described(tmp_path, "x\n1\n").endswith("Drawn: 1 row.")


def test_an_empty_figure_says_so(tmp_path):
    assert described(tmp_path, "condition,n\n").endswith(
        "This scale has nothing to show here, and the picture says so."
    )


def test_numbers_and_full_stops_within_a_sentence_do_not_end_it():
    assert first_sentence("At E = 0.5 vs. 1.0 experts die. Next.", "demo") == "At E = 0.5 vs. 1.0 experts die."
    assert first_sentence("Does it? Yes.", "demo") == "Does it?"


def test_missing_files_name_the_remedy(tmp_path):
    with pytest.raises(BadInput, match=r"b-made-up\.rst: no such file.*write the figure's caption there"):
        alt_text(tmp_path, "demo", "b-made-up")
    described(tmp_path, "x\n1\n")
    (tmp_path / "figures/demo/b-made-up.csv").unlink()
    with pytest.raises(BadInput, match=r"b-made-up\.csv: .*moe-replication figure b-made-up --scale demo"):
        alt_text(tmp_path, "demo", "b-made-up")


@pytest.mark.parametrize("name", FIGURES)
def test_every_caption_opens_with_a_sentence_that_can_be_listened_to(name):
    sentence = first_sentence((ROOT / "workflow" / "report" / f"{name}.rst").read_text(), "demo")
    assert 40 <= len(sentence) <= LONGEST
    assert sentence[-1] in ".?"
    assert not re.search(r"[{}`]", sentence)
