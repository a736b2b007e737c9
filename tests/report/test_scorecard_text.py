from __future__ import annotations

from made_scorecards import card, entry, mixed_card
from moe_replication.report.scorecard_text import scorecard_text


def rows(text, first):
    return [line for line in text.splitlines() if line.startswith(f"| {first}")]


def test_totals_stand_first_by_kind_and_paper():
    text = scorecard_text(mixed_card())
    assert "6 claims, of which 5 can be judged at scale smoke." in text
    assert rows(text, "Claims") == ["| Claims | reproduced | contradicted | inconclusive | untestable | not run |"]
    assert rows(text, "The same claim at our scale: Paper A, expert-threshold") == [
        "| The same claim at our scale: Paper A, expert-threshold | 1 | 0 | 1 | 0 | 0 |"
    ]
    assert rows(text, "The paper's cell: Paper B") == [
        "| The paper's cell: Paper B, expert-ecology | 1 | 0 | 0 | 0 | 0 |"
    ]
    assert rows(text, "All") == ["| All | 2 | 1 | 1 | 1 | 1 |"]


def test_our_scale_and_the_papers_cells_are_apart():
    text = scorecard_text(mixed_card())
    ours, cells = text.index("## The same claim at our scale"), text.index("## The paper's cell")
    assert ours < text.index("(b-second)") < cells < text.index("(a-cell)") < text.index("(b-cell)")


def test_a_row_says_how_sure_it_is_and_links_figures_and_runs():
    (row,) = rows(scorecard_text(card(entry("a-second"))), "**inconclusive**")
    cells = row.split(" | ")
    assert cells[4:6] == ["-0.0312 [-0.071, 0.0086]", "-0.049"]
    assert cells[6] == (
        "n: 3; p: 0.0766; p corrected: 0.1532; p over the paper: 0.3064; power: 42 % at the paper's difference; "
        "80 % power from: 0.0672; n for the paper's difference: 5; n needed: 7 paired seeds"
    )
    assert cells[7] == "[a-fig01-loss-curves](../../figures/smoke/a-fig01-loss-curves.png)"
    assert cells[8] == "[et](runs/expert-threshold/et/), [tc](runs/expert-threshold/tc/) |"


def test_ratios_are_told_apart_by_factors():
    text = scorecard_text(card(entry("a-x", comparison="threshold", logarithmic=True, detectable=1.5)))
    assert "80 % power from: a factor of 1.5;" in text


def test_conditions_without_runs_are_not_linked_and_many_are_cut():
    names = [f"line-{number}" for number in range(6)]
    (row,) = rows(scorecard_text(card(entry("b-pooled", conditions=["v1"], against=names))), "**inconclusive**")
    assert "[v1](runs/expert-ecology/v1/), line-0 (no run), line-1 (no run), line-2 (no run), 3 more in" in row


def test_power_is_never_certain():
    assert "power: over 99 % at the observed effect" in scorecard_text(
        card(entry("a-x", power=0.99999, power_at="the observed effect"))
    )


def test_what_the_numbers_of_a_rate_are():
    text = scorecard_text(card(entry("b-x", comparison="bound"), entry("b-y", comparison="sign", ci_low=None)))
    assert "| breaking rate -0.0312 [-0.071, 0.0086] |" in text
    assert "| share above -0.0312 |" in text


def test_bars_in_cells_are_escaped():
    text = scorecard_text(card(entry("a-x", claim="|E| is large")))
    table = [line for line in text.splitlines() if line.startswith("| **")]
    assert [line.count("|") - line.count("\\|") for line in table] == [10]


def test_line_breaks_and_html_in_cells_are_shown_not_obeyed():
    (row,) = rows(scorecard_text(card(entry("a-x", claim="first\n| second <b>third</b> & so on"))), "**inconclusive**")
    assert "| first \\| second &lt;b&gt;third&lt;/b&gt; &amp; so on (a-x) |" in row


def test_claims_edited_after_training_and_warnings_are_said():
    edits = [
        {"id": "a-first", "paper": "expert-threshold", "change": "changed", "runs": 2, "of": 9},
        {"id": "b-gone", "paper": "expert-ecology", "change": "removed", "runs": 3, "of": 3},
    ]
    text = scorecard_text(mixed_card(claims_edited=edits, warnings=["versions are pooled"]))
    assert "versions are pooled\n\n2 claims were edited after runs were trained" in text
    assert "- a-first changed: 2 of 9 runs were trained when it said something else." in text
    assert "- b-gone removed: 3 of 3 runs were trained under it; it is judged no more." in text
    assert "edited after" not in scorecard_text(mixed_card())


def test_the_digest_of_the_claims_and_the_number_of_tests_are_said():
    text = scorecard_text(mixed_card())
    assert text.endswith(f"SHA-256 of the claims: {'ab' * 32}\n")
    assert "Paper A, expert-threshold: 2 tests in 1 families, of which 1 settled their claim." in text
    assert "at most 0.05 families with a false verdict are to be expected" in text
    assert "With p corrected over all 2 tests 0 of the 1 remain." in text
