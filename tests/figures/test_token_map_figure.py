"""The token map as picture: which passage, where tokens stand, what shade they get."""

from __future__ import annotations

import polars as pl
import pytest

from figures.probe_tables import no_probes, probe_tables
from moe_replication.figures import style, token_map


def test_tokens_are_placed_letter_by_letter_and_lines_break():
    pieces = token_map.lay_out(["ab", " cde", "f\n", "g"], letters=6, lines=5)
    assert [(piece.token, piece.line, piece.column, piece.letters) for piece in pieces] == [
        (0, 0, 0, "ab"),
        (1, 0, 2, " cde"),
        (2, 1, 0, "f↵"),
        (3, 2, 0, "g"),
    ]


def test_a_token_longer_than_a_line_goes_on_and_the_rest_is_cut():
    pieces = token_map.lay_out(["x", "abcdefg", "h", "next"], letters=3, lines=4)
    assert [(piece.line, piece.column, piece.letters) for piece in pieces] == [
        (0, 0, "x"),
        (1, 0, "abc"),
        (2, 0, "def"),
        (3, 0, "g"),
        (3, 1, "h"),
    ]


@pytest.mark.parametrize(("text", "shown"), [("\t$a$", "    $a$"), ("a\r\n", "a↵"), ("語\x07", "□□"), ("", "·")])
def test_texts_are_readable_in_the_figures_font(text, shown):
    assert token_map.readable(text) == shown


def test_the_passage_is_one_that_every_condition_has():
    table = probe_tables(("et", "tc"), seeds=2)["probe-token_map"]
    table = table.filter((pl.col("condition") != "tc") | (pl.col("domain") != "validation"))
    data = token_map.passage_data(table, ("et", "tc"))
    assert data["domain"].unique().to_list() == ["code"]  # tc lacks validation
    assert data["seed"].unique().to_list() == [0]
    assert token_map.passage_data(table, ("et",))["domain"].unique().to_list() == ["validation"]


def test_tokens_without_an_expert_have_their_own_shade():
    norm = token_map.token_norm(pl.DataFrame({"fanout": [0.0, 1.0, 4.0]}))
    none, few, many = (token_map.shade(value, norm) for value in (0, 1, 4))
    assert none[0] == pytest.approx(token_map.SHADES.get_under())
    assert few[0] != none[0]
    assert (few[1], many[1]) == (style.BLACK, "white")


def test_long_passages_are_broken_into_blocks_and_cut(tmp_path, info, monkeypatch):
    monkeypatch.setattr(token_map, "BLOCK", 8)
    tables = probe_tables(("et",), seeds=1, layers=(0, 1))
    token_map.draw_layers_et(tables, info, tmp_path / "layers")
    drawn = pl.read_csv(tmp_path / "layers.csv")
    assert drawn["position"].max() == 8 * token_map.BLOCKS - 1
    assert drawn["layer"].unique().sort().to_list() == [0, 1]


def test_the_overview_holds_the_totals_of_one_passage(tmp_path, info):
    tables = probe_tables(("et", "tc"), seeds=2, layers=(0, 1))
    token_map.draw_overview(tables, info, tmp_path / "overview")
    drawn = pl.read_csv(tmp_path / "overview.csv")
    assert drawn["layer"].null_count() == drawn.height
    assert drawn.filter(pl.col("condition") == "tc")["fanout"].unique().to_list() == [2.0]  # one expert in two layers
    assert drawn.n_unique(["condition", "position"]) == drawn.height


@pytest.mark.parametrize(
    "draw",
    [
        token_map.draw_overview,
        token_map.draw_layers_et,
        token_map.draw_layers_ec_batch,
        token_map.draw_layers_ec_sequence,
    ],
)
def test_without_probes_a_figure_says_so(tmp_path, info, draw):
    draw(no_probes(), info, tmp_path / "empty")
    assert (tmp_path / "empty.csv").read_text() == ",".join(token_map.OUT) + "\n"
