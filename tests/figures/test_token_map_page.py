"""The page of the token map: what is in it, and that nothing in it can break out of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import polars as pl
import pytest

from figures.probe_tables import no_probes, probe_tables
from moe_replication.figures import token_map_page


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return probe_tables(("tc", "et"), seeds=2, layers=(0, 1))["probe-token_map"]


def _data(page: str) -> dict:
    (text,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def test_every_number_of_the_first_seed_is_there(table):
    data = _data(token_map_page.page(table, "demo"))
    own = table.filter((pl.col("condition") == "et") & (pl.col("seed") == 0) & (pl.col("domain") == "code"))
    total, layer = (own.filter(pl.col("layer").eq_missing(at)).sort("position") for at in (None, 1))
    shown = data["maps"]["et"]["code"]["0"]
    assert data["passages"]["code"]["0"] == total["text"].to_list()
    assert shown["totals"] == total["fanout"].to_list()
    assert shown["losses"] == pytest.approx(total["loss"].to_list(), abs=1e-4)
    assert shown["experts"]["1"] == layer["experts"].to_list()
    assert set(shown["experts"]) == {"0", "1"}


def test_text_cannot_end_the_script_and_titles_are_escaped(table):
    hostile = table.with_columns(title=pl.lit('<img src=x onerror="a()"> & more'))
    page = token_map_page.page(hostile, "<demo>")
    assert "</script> nothing" not in page
    assert page.count("</script>") == 2  # the data's and the code's own
    assert " </script>" in _data(page)["passages"]["code"]["0"]
    assert "<img" not in page
    assert "&lt;img src=x onerror=&quot;a()&quot;&gt; &amp; more" in page
    assert "<title>Token map, paper A, scale &lt;demo&gt;</title>" in page


def test_the_page_loads_nothing_from_elsewhere(table):
    page = token_map_page.page(table, "demo")
    markup = re.sub(r'<script id="data".*?</script>', "", page, flags=re.DOTALL)
    assert "default-src &#x27;none&#x27;" in page
    assert not re.search(r"https?:|//[a-z]|@import|<link|\bsrc=|\bfetch\(", markup)


def test_choices_are_listed_with_et_first_shown(table):
    page = token_map_page.page(table, "demo")
    assert '<option value="et" selected>ET, warm-up</option>' in page
    for option in ("tc", "validation", "code", "math", "0", "all", "1"):
        assert f'<option value="{option}">' in page


def test_a_loss_that_is_not_a_number_is_unknown(table):
    broken = table.with_columns(loss=pl.lit(float("nan")))
    losses = _data(token_map_page.page(broken, "demo"))["maps"]["et"]["code"]["0"]["losses"]
    assert set(losses) == {None}


def test_drawing_writes_the_picture_and_the_page(tmp_path, info, table):
    token_map_page.draw({"probe-token_map": table}, info, tmp_path / "map")
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".html", ".pdf", ".png"]
    token_map_page.draw(no_probes(), info, tmp_path / "empty")
    assert "There are no token maps at this scale." in (tmp_path / "empty.html").read_text()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_the_browser_shows_a_span_a_token_with_hover_values(tmp_path, table):
    page = tmp_path / "map.html"
    page.write_text(token_map_page.page(table, "demo"), encoding="utf-8")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
    folder = f"--user-data-dir={tmp_path / 'profile'}"
    shown = subprocess.run(
        ["chromium", *options, folder, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=60
    ).stdout
    first = table.filter(
        (pl.col("condition") == "et") & (pl.col("seed") == 0) & (pl.col("domain") == "validation")
        & pl.col("layer").is_null()
    ).sort("position")  # fmt: skip
    (text,) = re.findall(r'<div id="text".*?</div>', shown, re.DOTALL)
    assert text.count("<span") == first.height
    loss, fanout = first["loss"][0], first["fanout"][0]
    assert f'title="token 0 &quot;The&quot;, loss {loss:.3f} nats, fan-out {fanout:.0f}' in text
