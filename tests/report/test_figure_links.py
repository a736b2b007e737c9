"""A claim's figure inside Snakemake's report: the frame asks, the first view answers and shows the figure's section."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from browser import CHROMIUM, browser
from made_scorecards import mixed_card
from moe_replication.config import load_project
from moe_replication.report.opening import opening
from moe_replication.report.scorecard_page import scorecard_page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium"),
]

ROOT = Path(__file__).parents[2]
FIGURE = "b-dead-vs-e"
RESULTS = "<!doctype html><p style='height: 3000px'>above</p><section id='b-dead-vs-e'>Dead experts</section>"
# As Snakemake's report does it: the description is put in as innerHTML, a page is a data: address in a frame.
REPORT = """<!doctype html><title>report</title><div id="description"></div><iframe></iframe><script>
const results = RESULTS, frame = document.querySelector("iframe");
const app = { setView(view) { frame.src = view.contentPath; } };
document.getElementById("description").innerHTML = OPENING;
app.setView({ contentPath: results["results/smoke/scorecard.html"].data_uri });
</script>"""


def as_data(page: str) -> dict[str, str]:
    return {"data_uri": f"data:text/html;charset=utf8;base64,{base64.b64encode(page.encode()).decode()}"}


def test_button_of_a_figure_shows_its_section_and_one_of_a_paper_that_did_not_run_stays_text(tmp_path):
    project = load_project(ROOT, {"scale": "smoke", "conditions": ["v1"]})
    card = mixed_card(scale="smoke")
    pages = {
        "results/smoke/scorecard.html": as_data(scorecard_page(card)),
        "results/smoke/pages/results-paper-b.html": as_data(RESULTS),
    }
    first_view = json.dumps(opening(project, card, Path("results/smoke"))).replace("</", "<\\/")
    report = tmp_path / "report.html"
    report.write_text(REPORT.replace("RESULTS", json.dumps(pages)).replace("OPENING", first_view), encoding="utf-8")
    with browser(tmp_path / "profile") as chromium:
        chromium.open(report.as_uri())
        chromium.wait_for("document.querySelector('button.link:not([disabled])')", frame=True)
        names = "[...document.querySelectorAll('button.link{}')].map((found) => found.textContent[0])"
        assert set(chromium.run(names.format(":not([disabled])"), frame=True)) == {"b"}
        assert set(chromium.run(names.format("[disabled]"), frame=True)) == {"a"}
        chromium.run("document.querySelector('button.link:not([disabled])').click()", frame=True)
        chromium.wait_for(f"document.querySelector('section:target')?.id === '{FIGURE}'", frame=True)
        assert chromium.run("document.querySelector('section').getBoundingClientRect().top", frame=True) < 900
        assert chromium.errors == []
