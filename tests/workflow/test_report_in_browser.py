"""report.html of a finished project in a real browser: no errors, the scorecard first, every section opens."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from browser import CHROMIUM, Browser, browser
from scratch_project import Scratch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium"),
]

ADDRESS_LIMIT = 2 * 1024 * 1024  # Chromium's, for the address of a frame
PAGES = ("Scorecard", "Results, paper A", "Results, paper B", "Discrepancies", "Environment and cost", "Checklist")
SECTIONS = [
    "1 Scorecard", "2 Results, paper A", "3 Results, paper B", "4 Figures", "5 Discrepancies", "6 Environment and cost",
    "7 Checklist", "8 Tables",
]  # fmt: skip
BROKEN = {
    "exception": "<script>nothingOfThisName()</script>",
    "console.error": "<script>console.error('spoiled')</script>",
    "rejected promise": "<script>Promise.reject(new Error('late'))</script>",
    "missing picture": "<img src='nowhere.png' alt=''>",
    "exception in a frame": "<iframe src='data:text/html,<script>nothingOfThisName()</script>'></iframe>",
}


@pytest.fixture(scope="module")
def results(finished: Scratch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """results/smoke of a copy of the finished project, with its report."""
    project = Scratch(tmp_path_factory.mktemp("reported") / "project")
    shutil.copytree(finished.root, project.root, symlinks=True, copy_function=shutil.copy2)
    project.snakemake("--report", "results/smoke/report.html")
    return project.root / "results/smoke"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture
def report(chromium: Browser, results: Path) -> Browser:
    """The browser with the report on its first view."""
    chromium.open((results / "report.html").as_uri())
    chromium.wait_for("document.querySelector('#verdicts')")
    return chromium


def texts(page: Browser, selector: str) -> list[str]:
    return page.run(f"[...document.querySelectorAll({json.dumps(selector)})].map((found) => found.textContent)")


def shown_rows(page: Browser) -> int:
    return page.run("[...document.querySelectorAll('tr[data-verdict]')].filter((row) => row.offsetParent).length")


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_page_is_noticed(chromium, tmp_path, fault):
    page = tmp_path / "broken.html"
    page.write_text(f"<!doctype html><title>broken</title>{BROKEN[fault]}", encoding="utf-8")
    chromium.open(page.as_uri())
    chromium.wait_for_error()
    assert len(chromium.errors) == 1


def test_a_sound_page_has_no_errors_even_after_a_broken_one(chromium, tmp_path):
    page = tmp_path / "sound.html"
    page.write_text("<!doctype html><title>sound</title><script>console.log('fine')</script>", encoding="utf-8")
    chromium.open(page.as_uri())
    assert chromium.errors == []


def test_first_view_has_the_totals_and_leads_to_the_scorecard_first(report):
    assert texts(report, "#verdicts th")[1:] == ["reproduced", "contradicted", "inconclusive", "untestable", "not run"]
    assert texts(report, "#sections li a") == [name[2:] for name in SECTIONS]
    assert report.run("document.querySelector('#verdicts').getBoundingClientRect().top >= 0")
    assert report.errors == []


def test_menu_has_the_sections_in_reading_order(report):
    assert texts(report, "nav li")[-len(SECTIONS) :] == SECTIONS
    assert report.run("Object.keys(categories).length") == len(SECTIONS)


def test_no_page_is_too_long_for_a_frame(report):
    lengths = report.run(
        "Object.fromEntries(Object.entries(results).filter(([, result]) => result.mime_type === 'text/html')"
        ".map(([path, result]) => [path, result.data_uri.length]))"
    )
    assert len(lengths) >= len(PAGES)
    assert {path: length for path, length in lengths.items() if length >= ADDRESS_LIMIT} == {}


@pytest.mark.parametrize("name", PAGES)
def test_link_of_the_first_view_opens_its_page_without_errors(report, name):
    report.run(f"[...document.querySelectorAll('#sections a')].find((a) => a.textContent === '{name}').click()")
    report.wait_for("document.querySelector('iframe')")
    report.wait_for("document.readyState === 'complete' && document.querySelector('h1')", frame=True)
    assert report.run("document.body.innerText.length", frame=True) > 500
    # In a frame without a folder a link to a file leads nowhere; only links within the page and to the web are left.
    links = report.run("[...document.querySelectorAll('a')].map((link) => link.getAttribute('href'))", frame=True)
    assert [link for link in links if not link.startswith(("#", "http"))] == []
    assert report.errors == []


@pytest.mark.parametrize("name", ["4 Figures", "8 Tables"])
def test_section_of_files_opens_its_list(report, name):
    report.run(f"[...document.querySelectorAll('#sections a')].find((a) => '{name}'.endsWith(a.textContent)).click()")
    report.wait_for(f"document.querySelector('nav').textContent.includes({json.dumps(name)})")
    assert report.errors == []


def test_scorecards_filters_follow_the_address(chromium, results):
    chromium.open((results / "scorecard.html").as_uri())
    everything = shown_rows(chromium)
    assert everything == chromium.run("document.querySelectorAll('tr[data-verdict]').length") > 40
    chromium.run("location.hash = '#paper=expert-ecology'")
    chromium.wait_for("!document.querySelector('#count').textContent.startsWith('" + str(everything) + " ')")
    of_paper = shown_rows(chromium)
    assert of_paper == chromium.run("document.querySelectorAll('[data-paper=expert-ecology] tr[data-verdict]').length")
    assert 0 < of_paper < everything
    chromium.run("location.hash = '#text=no-claim-says-this'")
    chromium.wait_for("!document.querySelector('#nothing').hidden")
    assert shown_rows(chromium) == 0
    assert chromium.errors == []


def test_scorecards_filters_work_inside_the_report(report):
    report.run("document.querySelector('#sections a').click()")
    report.wait_for("document.querySelector('iframe')")
    report.wait_for("document.querySelector('#count')?.textContent", frame=True)
    report.run("document.querySelector('input[name=verdict][value=reproduced]').click()", frame=True)
    report.wait_for("!document.querySelector('#nothing').hidden", frame=True)
    assert report.errors == []


@pytest.mark.parametrize("letter", ["a", "b"])
def test_figure_of_a_claim_opens_its_section_of_the_results(report, letter):
    report.run("document.querySelector('#sections a').click()")
    report.wait_for("document.querySelector('iframe')")
    report.wait_for("document.querySelectorAll('button.link:not([disabled])').length > 40", frame=True)
    find = f"[...document.querySelectorAll('button.link')].findLast((found) => found.textContent[0] === '{letter}')"
    name = report.run(f"{find}.textContent", frame=True)
    report.run(f"{find}.click()", frame=True)
    report.wait_for(f"document.querySelector('section:target')?.id === {json.dumps(name)}", frame=True)
    report.wait_for("document.readyState === 'complete'", frame=True)
    assert -1 <= report.run("document.querySelector('section:target').getBoundingClientRect().top", frame=True) < 900
    assert report.errors == []


@pytest.mark.parametrize("letter", ["a", "b"])
def test_results_page_shows_every_picture_and_describes_it(chromium, results, letter):
    chromium.open((results / f"pages/results-paper-{letter}.html").as_uri())
    pictures = chromium.run(
        "[...document.images].map((image) => [image.complete && image.naturalWidth > 0, image.alt.length])"
    )
    assert len(pictures) > 10
    assert all(loaded and length > 40 for loaded, length in pictures)
    sections = chromium.run("[...document.querySelectorAll('section[id]')].map((section) => section.id)")
    assert texts(chromium, "nav li a") == texts(chromium, "section[id] > h3")
    assert len(sections) == len(set(sections))
    assert chromium.errors == []


@pytest.mark.parametrize("letter", ["a", "b"])
def test_results_page_fits_a_phone(chromium, results, letter):
    chromium.open((results / f"pages/results-paper-{letter}.html").as_uri(), width=400)
    assert chromium.run("document.documentElement.scrollWidth") <= 400
