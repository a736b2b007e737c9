from __future__ import annotations

import base64
import json
from html.parser import HTMLParser

import pytest

from browser import CHROMIUM, browser
from made_scorecards import card, entry, mixed_card
from moe_replication.report.scorecard_page import scorecard_page

VOID = {"meta", "br", "input"}
EDITS = [
    {"id": "a-first", "paper": "expert-threshold", "change": "changed", "runs": 2, "of": 9},
    {"id": "b-gone", "paper": "expert-ecology", "change": "removed", "runs": 3, "of": 3},
]


class Page(HTMLParser):
    """Links, ids, tags and visible words of a page; refuses tags that do not match."""

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.tags, self.words, self.open = [], [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name in ("href", "src")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_needs_no_other_file():
    page = Page(scorecard_page(mixed_card()))
    assert not {"link", "img", "iframe"} & set(page.tags)
    assert page.tags.count("script") == page.tags.count("style") == 1


def test_every_claim_has_a_row_that_can_be_linked():
    names = [entry["id"] for entry in mixed_card()["claims"]]
    page = Page(scorecard_page(mixed_card()))
    assert set(names) < set(page.ids)
    assert {f"#{name}" for name in names} < set(page.links)
    assert len(page.ids) == len(set(page.ids))


def test_rows_link_figures_and_the_runs_that_are_there():
    text = scorecard_page(mixed_card())
    links = set(Page(text).links)
    assert {"../../figures/smoke/a-fig01-loss-curves.png", "../../figures/smoke/b-dead-vs-e.png"} < links
    assert {"runs/expert-threshold/et/", "runs/expert-ecology/v1/"} < links
    assert "runs/expert-ecology/v6/" not in links
    assert "<li>v6 (no run)</li>" in text


def test_without_script_every_row_is_shown_and_no_dead_filter():
    text = scorecard_page(mixed_card())
    assert '<div id="filters" data-script hidden>' in text
    assert not any("hidden" in row.partition(">")[0] for row in text.split('<tr id="')[1:])


def test_totals_follow_the_order_of_verdicts_whatever_the_file_says():
    """scorecard.json has its keys sorted."""
    made = mixed_card()
    text = scorecard_page(json.loads(json.dumps(made, sort_keys=True)))
    assert text == scorecard_page(made)
    (line,) = (line for line in text.splitlines() if line.startswith('<tr><th scope="row">All claims'))
    assert Page(line).words[1:] == ["2", "1", "1", "1", "1", "6"]


def test_a_total_links_the_claims_that_it_counts():
    links = Page(scorecard_page(mixed_card())).links
    assert "#paper=expert-ecology&kind=our-scale&verdict=contradicted" in links
    assert "#kind=paper-cell&verdict=reproduced" in links
    assert "#paper=expert-ecology&kind=our-scale&verdict=reproduced" not in links


def test_one_paper_has_no_sum_of_papers():
    assert "All papers" in scorecard_page(mixed_card())
    assert "All papers" not in scorecard_page(card(entry("a-first")))


def test_a_row_says_how_sure_it_is():
    text = scorecard_page(card(entry("a-first")))
    shown = {"p": "0.0766", "p corrected": "0.1532", "n needed": "7 paired seeds", "80 % power from": "0.0672"}
    for name, value in shown.items():
        assert f"<dt>{name}</dt> <dd>{value}</dd>" in text
    assert "<dt>power</dt> <dd>42 % at the paper&#x27;s difference</dd>" in text


def test_many_conditions_start_folded():
    text = scorecard_page(card(entry("b-pooled", conditions=[f"line-{number}" for number in range(5)])))
    assert "<details><summary>5 conditions</summary>" in text
    assert "<details>" not in scorecard_page(card(entry("b-pair")))


def test_what_yaml_says_is_escaped():
    made = card(entry("a-x", claim="a <script>alert(1)</script> & b", place='"><b>'), scale_note="<i>note</i>")
    text = scorecard_page(made)
    assert text.count("<script>") == 1
    assert "a &lt;script&gt;alert(1)&lt;/script&gt; &amp; b" in text
    assert not {"i", "b"} & set(Page(text).tags)


def test_claims_edited_after_training_are_listed_and_marked():
    text = scorecard_page(mixed_card(claims_edited=EDITS))
    assert "2 claims were edited after runs were trained" in text
    assert text.count("changed: 2 of 9 runs were trained when it said something else") == 2
    assert "<li>b-gone removed: 3 of 3 runs" in text
    assert "edited after" not in scorecard_page(mixed_card())


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def page(chromium, tmp_path):
    """Opens the scorecard at an address's end; no test may leave an error in the console."""
    (tmp_path / "scorecard.html").write_text(scorecard_page(mixed_card(claims_edited=EDITS)), encoding="utf-8")

    def show(place="", width=1280):
        chromium.open(f"file://{tmp_path}/scorecard.html{place}", width=width)
        return chromium

    yield show
    assert chromium.errors == []


SHOWN = "[...document.querySelectorAll('tr[data-verdict]')].filter(row => row.offsetParent).map(row => row.id)"
COUNT = "document.getElementById('count').textContent"


def type_words(chromium, text):
    chromium.run(
        f"document.querySelector('input[type=search]').value = {text!r};"
        "document.querySelector('input[type=search]').dispatchEvent(new Event('input', {bubbles: true}))"
    )


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("", ["a-first", "a-second", "b-first", "b-second", "a-cell", "b-cell"]),
        ("#paper=expert-ecology", ["b-first", "b-second", "b-cell"]),
        ("#kind=paper-cell", ["a-cell", "b-cell"]),
        ("#verdict=contradicted&verdict=not_run", ["b-first", "b-second"]),
        ("#paper=expert-threshold&verdict=reproduced", ["a-first"]),
        ("#text=one+LEAK", ["a-first"]),
        ("#kind=our-scale&text=et&verdict=untestable", []),
        ("#b-first", ["a-first", "a-second", "b-first", "b-second", "a-cell", "b-cell"]),
    ],
)
def test_an_address_is_a_filtered_view(page, place, expected):
    found = page(place)
    assert found.run(SHOWN) == expected
    assert found.run(COUNT) == f"{len(expected)} of 6 claims shown"
    assert found.run("Boolean(document.getElementById('nothing').offsetParent)") is (expected == [])
    headings = found.run("[...document.querySelectorAll('section h2')].filter(h => h.offsetParent).length")
    assert headings == len({(name[0], name.endswith("cell")) for name in expected})


def test_filters_write_the_address_and_reset_clears_it(page):
    found = page("#paper=expert-ecology")
    type_words(found, "tc ")
    found.run("document.querySelector('input[value=contradicted]').click()")
    assert found.run("location.hash") == "#paper=expert-ecology&verdict=contradicted&text=tc+"
    found.run("document.querySelector('button[type=reset]').click()")
    found.wait_for(f"{COUNT} === '6 of 6 claims shown'")
    assert found.run("location.hash") == ""


def test_a_total_filters_and_a_permalink_shows_its_row_again(page):
    found = page()
    found.run("""document.querySelector('a[href="#kind=paper-cell&verdict=reproduced"]').click()""")
    found.wait_for(f"{COUNT} === '1 of 6 claims shown'")
    assert found.run("document.querySelector('input[value=reproduced]').checked") is True
    found.run("document.querySelector('ul a[href=\"#a-first\"]').click()")
    found.wait_for(f"{COUNT} === '6 of 6 claims shown'")
    top = found.run("document.getElementById('a-first').getBoundingClientRect().top")
    assert 0 <= top < 900


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_wider_than_the_window(page, width):
    found = page(width=width)
    assert found.run("document.documentElement.scrollWidth") <= width


def test_inside_the_report_links_are_text_and_filters_work(chromium):
    code = base64.b64encode(scorecard_page(mixed_card()).encode()).decode()
    chromium.open(f"data:text/html;charset=utf8;base64,{code}#verdict=contradicted")
    assert chromium.run(SHOWN) == ["b-first"]
    assert chromium.run("document.querySelectorAll(\"a:not([href^='#'])\").length") == 0
    assert chromium.run("document.getElementById('b-first').textContent.includes('b-dead-vs-e')") is True
    assert chromium.run("document.querySelectorAll('button.link:not([disabled])').length") == 0
    assert "pictures are under Figures" in chromium.run("document.getElementById('inside').innerText")
    type_words(chromium, "nowhere")
    assert chromium.run(COUNT) == "0 of 6 claims shown"
    assert chromium.errors == []
