"""The scorecard: verdicts on the papers' claims as JSON, Markdown and a self-contained HTML page."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from moe_replication.config.analysis import AnalysisSettings
from moe_replication.files import sha256_json, write_json, write_text
from moe_replication.statistics.claims import PAPER_CELL, SAME_CLAIM, VERDICTS, judge
from moe_replication.statistics.collect import read_parquet, read_runs
from moe_replication.statistics.derived import with_derived
from moe_replication.statistics.wording import number

RULES = (
    "An ordering is reproduced when the 95 % t interval of the paired difference (same seeds, first "
    "minus second) lies wholly on the claimed side and survives the Holm correction over its family; "
    "contradicted when it lies wholly on the other side and survives; otherwise inconclusive.",
    "A threshold is judged like an ordering, the mean over seeds against a number, by the one-sample t "
    "test; ratios by their logarithms. A seed whose loss never comes down to its baseline's has no token "
    "ratio: it enters with the largest that it can have.",
    "Families are the tables and figures of the papers and our own questions; p values are corrected "
    "within a family, not over all claims.",
    "An at_most claim (does not make worse) is reproduced when the one-sided paired t test at the margin "
    "(Holm-corrected) places the difference on the claimed side of it; contradicted when the 95 % interval lies wholly "
    "beyond the margin on the other side; otherwise inconclusive.",
    "An equivalence is reproduced when two one-sided t tests (TOST, Holm-corrected) place the "
    "difference within the margin; contradicted when the 95 % interval lies wholly beyond it; otherwise"
    " inconclusive.",
    "A bound is contradicted by a single run that breaks it. Runs without a counter-example reproduce "
    "it only once the upper end of the two-sided 95 % Clopper-Pearson interval of the rate of breaking runs is below "
    "the margin; until then it is inconclusive, however clean the runs look.",
    "Groups of runs are compared within data sets, whatever their seeds, by the exact permutation test of the "
    "difference in means or by Fisher's exact test of the share of runs above the threshold. As runs of one condition "
    "resemble one another, the conditions' means, or shares, are permuted as well, and the larger p counts. Reproduced "
    "when it survives the Holm correction on the claimed side, contradicted on the other, otherwise inconclusive. "
    "Conditions without a run or a value are left out and named.",
    "A sign claim is judged likewise by the exact sign test over runs and over the conditions' medians, the larger p; "
    "what lies on the threshold is dropped. The share beside it is of the runs above the threshold. With n runs or "
    "conditions its p cannot go below 2/2^n. Where a claim compares single conditions, runs decide.",
    "Where the smallest p that a test can have with what was run, times the size of its family, is not below 0.05, an "
    "inconclusive claim says that it cannot reach it: a limit of the design.",
    "The exact sign-flip p stands beside each ordering. With n seeds it cannot go below 2/2^n:"
    " at n = 3 that is 0.25, so it cannot reach alpha = 0.05. That is a limit of the design and says "
    "nothing on the effect.",
    "The paper's cell: its single number is compared with our 95 % prediction interval for one new run;"
    " reproduced when the interval lies wholly within the margin of that number, contradicted when "
    "wholly beyond, otherwise inconclusive. Absolute numbers mean something at scale paper only.",
    "untestable: this scale cannot speak to the claim. not_run: a needed run, or every value of its metric, is "
    "missing. A metric has no value where it is not measured or has no meaning, as revival where no "
    "expert ever died; runs without one are left out and counted.",
)
TITLES = {SAME_CLAIM: "The same claim at our scale", PAPER_CELL: "The paper's cell"}
COLUMNS = ("Verdict", "Claim", "Place", "Finding", "Ours (95 % interval)", "n", "Paper", "Figures")
STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-top: 1px solid #8886; padding: .45rem .6rem; text-align: left; vertical-align: top; }
td.number { white-space: nowrap; }
small { opacity: .8; }
.badge { border-radius: .3rem; color: #fff; display: inline-block; font-weight: 600; padding: .05rem .45rem; }
.reproduced { background: #1a7f37; }
.contradicted { background: #b42318; }
.inconclusive { background: #8a5a00; }
.untestable, .not_run { background: #59636e; }
"""


def write_scorecard(
    results: Path | str, claims: Sequence[dict], scale: str, analysis: AnalysisSettings, scale_note: str = ""
) -> dict:
    """Judge the claims on the collected tables in `results`; write scorecard.json, .md, .html there.

    Figure links are relative: ../../figures/{scale}/NAME.png. Returns scorecard.json's content.
    """
    results = Path(results)
    curves = read_parquet(results / "curves.parquet", ("paper", "condition", "seed", "epoch"))
    experts = read_parquet(results / "experts.parquet", ("paper", "condition", "seed", "layer"))
    probes = read_parquet(results / "probe-metrics.parquet", ("paper", "condition", "seed"))
    runs = with_derived(read_runs(results / "runs.parquet"), curves, experts, probes, analysis)
    card = scorecard(claims, runs, curves, scale, scale_note)
    write_json(results / "scorecard.json", card)
    write_text(results / "scorecard.md", as_markdown(card))
    write_text(results / "scorecard.html", as_html(card))
    return card


def scorecard(
    claims: Sequence[dict], runs: pl.DataFrame, curves: pl.DataFrame, scale: str, scale_note: str = ""
) -> dict:
    """The content of scorecard.json; `warnings` names papers whose runs come from several versions."""
    mixed = runs.filter("mixed_versions")["paper"].unique().sort().to_list()
    return {
        "scale": scale,
        "scale_note": scale_note,
        "claims_sha256": sha256_json(list(claims)),
        "totals": _totals(judged := judge(claims, runs, curves, scale)),
        "warnings": [
            f"{paper}: runs of several versions are pooled; see mixed_versions in runs.parquet" for paper in mixed
        ],
        "claims": judged,
    }


def as_markdown(card: dict) -> str:
    """The scorecard as Markdown: totals, then one table per paper and kind of claim, then the rules."""
    lines = [f"# Scorecard, scale {card['scale']}", ""]
    lines += [
        line for text in (card["scale_note"], _totals_line(card), *card["warnings"]) if text for line in (text, "")
    ]
    for kind, paper, entries in _sections(card):
        lines += [f"## {TITLES[kind]}: {paper}", "", _row(COLUMNS), _row("---" for _ in COLUMNS)]
        for entry in entries:
            figures = ", ".join(f"[{name}]({_link(card, name)})" for name in entry["figures"])
            finding = f"{entry['sentence']} {entry['evidence']}".strip()
            claim = f"{entry['claim']} ({entry['id']})"
            cells = (f"**{entry['verdict']}**", claim, entry["place"], finding, *_numbers(entry), figures)
            lines.append(_row(cell.replace("|", "\\|") for cell in cells))
        lines.append("")
    lines += ["## How a verdict is reached", ""]
    lines += [f"- {rule}" for rule in RULES]
    return "\n".join(lines) + "\n"


def as_html(card: dict) -> str:
    """The scorecard as one HTML page without scripts or outside files; figures are linked."""
    body = [f"<h1>Scorecard, scale {_text(card['scale'])}</h1>"]
    body += [f"<p>{_text(text)}</p>" for text in (card["scale_note"], *card["warnings"]) if text]
    badges = (f"{_badge(verdict)} {count}" for verdict, count in card["totals"].items())
    body.append(f"<p>{' &nbsp; '.join(badges)}</p>")
    head = "".join(f"<th>{_text(name)}</th>" for name in COLUMNS)
    for kind, paper, entries in _sections(card):
        rows = "".join(_html_row(card, entry) for entry in entries)
        body.append(f"<h2>{_text(TITLES[kind])}: {_text(paper)}</h2>")
        body.append(f"<table><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table>")
    rules = "".join(f"<li>{_text(rule)}</li>\n" for rule in RULES)
    body.append(f"<h2>How a verdict is reached</h2>\n<ul>{rules}</ul>")
    title = f"<title>Scorecard, {_text(card['scale'])}</title>"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{title}<style>{STYLE}</style></head>\n'
        f"<body>{''.join(f'{part}{chr(10)}' for part in body)}</body></html>\n"
    )


def _html_row(card: dict, entry: dict) -> str:
    links = (f'<a href="{_text(_link(card, name))}">{_text(name)}</a>' for name in entry["figures"])
    interval, n, paper = _numbers(entry)
    return (
        f'<tr id="{_text(entry["id"])}"><td>{_badge(entry["verdict"])}</td>'
        f"<td>{_text(entry['claim'])}<br><small>{_text(entry['id'])}</small></td><td>{_text(entry['place'])}</td>"
        f"<td>{_text(entry['sentence'])}<br><small>{_text(entry['evidence'])}</small></td>"
        f'<td class="number">{_text(interval)}</td><td class="number">{n}</td>'
        f'<td class="number">{_text(paper)}</td>'
        f"<td>{'<br>'.join(links)}</td></tr>\n"
    )


def _numbers(entry: dict) -> tuple[str, str, str]:
    """Our estimate with its interval, n, and the paper's value, as text."""
    if entry["effect"] is None:
        ours = ""
    elif entry["ci_low"] is None:
        ours = number(entry["effect"])
    else:
        ours = f"{number(entry['effect'])} [{number(entry['ci_low'])}, {number(entry['ci_high'])}]"
    if ours and entry["comparison"] == "bound":
        ours = f"breaking rate {ours}"
    elif ours and entry["comparison"] == "sign":
        ours = f"share above {ours}"
    paper = "" if entry["paper_value"] is None else number(entry["paper_value"])
    return ours, str(entry["n"]) if entry["n"] else "", paper


def _sections(card: dict) -> list[tuple[str, str, list[dict]]]:
    papers = sorted({entry["paper"] for entry in card["claims"]}, reverse=True)
    found = [
        (kind, paper, [entry for entry in card["claims"] if (entry["kind"], entry["paper"]) == (kind, paper)])
        for kind in TITLES
        for paper in papers
    ]
    return [section for section in found if section[2]]


def _totals(entries: list[dict]) -> dict[str, int]:
    counts = Counter(entry["verdict"] for entry in entries)
    return {verdict: counts[verdict] for verdict in VERDICTS}


def _totals_line(card: dict) -> str:
    return ", ".join(f"{verdict}: {count}" for verdict, count in card["totals"].items())


def _row(cells) -> str:
    return f"| {' | '.join(cells)} |"


def _badge(verdict: str) -> str:
    return f'<span class="badge {verdict}">{verdict.replace("_", " ")}</span>'


def _link(card: dict, name: str) -> str:
    return f"../../figures/{card['scale']}/{name}.png"


def _text(value: str) -> str:
    return html.escape(value)
