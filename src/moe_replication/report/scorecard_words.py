"""What the scorecard's pages say in words: the rules of the verdicts, and an entry's numbers as text."""

from __future__ import annotations

from moe_replication.statistics.hypothesis_tests import ALPHA
from moe_replication.statistics.wording import number, percent

RULES = (
    "An ordering is reproduced when the 95 % t interval of the paired difference (same seeds, first "
    "minus second) lies wholly on the claimed side and survives the Holm correction over its family; "
    "contradicted when it lies wholly on the other side and survives; otherwise inconclusive.",
    "A threshold is judged like an ordering, the mean over seeds against a number, by the one-sample t "
    "test; ratios by their logarithms. A seed whose loss never comes down to its baseline's has no token "
    "ratio: it enters with the largest that it can have.",
    "Families are the tables and figures of the papers and our own questions; p values are corrected within a family, "
    "so that one family in twenty may hold a false verdict. Below the totals stands how many tests and families that "
    "are, and how many verdicts pass when p is corrected over all tests of the paper (p over the paper).",
    "An at_most claim (does not make worse) is reproduced when the one-sided paired t test at the margin "
    "(Holm-corrected) places the difference on the claimed side of it; contradicted when twice the one-sided p for a "
    "mean beyond the margin, likewise corrected, is below 0.05; otherwise inconclusive.",
    "An equivalence is reproduced when two one-sided t tests (TOST, Holm-corrected) place the difference within the "
    "margin; contradicted when twice the p for a mean beyond it, corrected, is below 0.05; otherwise inconclusive. "
    "The p shown is that of the side on which the difference lies.",
    "Counts of experts are skewed, and nothing is symmetric about a margin or threshold: there they must also pass a "
    "test that assumes no shape but the range of the count, and the larger p counts. Five equal pairs are no "
    "equivalence. An ordering's hypothesis is that conditions do not differ, which makes differences symmetric.",
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
    "The interval beside a difference between groups is a percentile bootstrap over whole conditions, within data sets "
    "and groups (over runs where each group is one condition). It describes and decides nothing.",
    "Power is the chance, at this n, that the claim's test would pass were the named difference the true one: the "
    "paper's where the claim gives one, no difference for an equivalence or at_most claim without one, else the "
    "observed effect, where power restates p. The paper's difference is of the paper's scale; at a smaller one the "
    "true difference may be another, and one in epochs is taken as the same part of our horizon. Power takes the sd "
    "of the runs as exact, though that of three seeds is a rough guess, and alpha over the size of the family, Holm's "
    "first step: once others of the family have passed, power is higher. For counts at a margin or threshold runs are "
    "drawn from those seen; sign tests and groups state an alternative of their own (config/analysis.yaml), bounds "
    "the chance of a counter-example at the margin's rate. The paper's cells test no hypothesis and have none.",
    "80 % power from: the smallest true difference or distance from the threshold, for ratios the smallest factor, "
    "that would be found with a chance of at least 80 % at this n, sd and corrected alpha.",
    "n needed stands beside inconclusive claims: how many runs, paired seeds or conditions in all would settle the "
    "claim were what was seen so far the truth. For t tests it is n with 80 % power at the observed effect, sd and "
    "corrected alpha, of counts at a margin or threshold not less than their range asks for; for the paper's "
    "cells the first n whose prediction interval clears the margin, and none where single runs are spread too wide; "
    "for exact tests what was observed is repeated, seeds or, where those cannot help, conditions. n for the paper's "
    "difference is n with 80 % power at that.",
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
CHANGES = {
    "changed": "{runs} of {of} runs were trained when it said something else",
    "added": "{runs} of {of} runs were trained before it was there",
    "added and changed": "{runs} of {of} runs were trained when it said something else, {without} before it was there",
    "removed": "{runs} of {of} runs were trained under it; it is judged no more",
}


def entries_of(card: dict, section: dict) -> list[dict]:
    """The judged claims of a section of the scorecard, as ordered in config/claims/."""
    place = (section["kind"], section["paper"])
    return [entry for entry in card["claims"] if (entry["kind"], entry["paper"]) == place]


def paper_names(card: dict) -> dict[str, str]:
    """Paper -> "Paper A, expert-threshold", in the order of the sections."""
    letters = {entry["paper"]: entry["id"][0].upper() for entry in card["claims"]}
    return {section["paper"]: f"Paper {letters[section['paper']]}, {section['paper']}" for section in card["sections"]}


def links(card: dict, entry: dict) -> dict[str, dict[str, str | None]]:
    """`figures` and `runs`: name -> address relative to results/{scale}, None for a condition without a run there."""
    trained = card["trained"].get(entry["paper"], ())
    conditions = (*entry["conditions"], *(entry["against"] or ()))
    return {
        "figures": {name: f"../../figures/{card['scale']}/{name}.png" for name in entry["figures"]},
        "runs": {name: f"runs/{entry['paper']}/{name}/" if name in trained else None for name in conditions},
    }


def ours(entry: dict) -> str:
    """Our estimate with its interval."""
    if entry["effect"] is None:
        return ""
    found = number(entry["effect"])
    if entry["ci_low"] is not None:
        found += f" [{number(entry['ci_low'])}, {number(entry['ci_high'])}]"
    return {"bound": "breaking rate ", "sign": "share above "}.get(entry["comparison"], "") + found


def papers(entry: dict) -> str:
    """The paper's own value."""
    return "" if entry["paper_value"] is None else number(entry["paper_value"])


def certainty(entry: dict) -> dict[str, str]:
    """How sure the verdict is, what is known of it: n, p raw and corrected, power, and what would settle it."""
    found = {"n": str(entry["n"])} if entry["n"] else {}
    for name, key in (("p", "p"), ("p corrected", "p_corrected"), ("p over the paper", "p_paper")):
        if entry[key] is not None:
            found[name] = number(entry[key])
    if entry["power"] is not None:
        found["power"] = f"{percent(entry['power'])} at {entry['power_at']}"
    if entry["detectable"] is not None:
        found["80 % power from"] = ("a factor of " if entry["logarithmic"] else "") + number(entry["detectable"])
    if entry["n_needed_paper"] is not None:
        found["n for the paper's difference"] = str(entry["n_needed_paper"])
    if entry["n_needed"] is not None:
        found["n needed"] = f"{entry['n_needed']} {entry['n_needed_of']}"
    return found


def change(edit: dict) -> str:
    """How a claim was edited after training, in words."""
    return f"{edit['change']}: {CHANGES[edit['change']].format(**edit)}"


def edits_note(card: dict, where: str) -> str:
    """How many claims were edited after training and `where` they are listed; empty where none was."""
    count = len(card["claims_edited"])
    return f"{count} claim{'s were' if count > 1 else ' was'} edited after runs were trained; {where}." if count else ""


def tests_note(card: dict) -> list[str]:
    """By paper: tests and families behind the verdicts, false ones to expect, and what is left over all tests."""
    names = paper_names(card)
    return [
        f"{names[found['paper']]}: {found['tests']} tests in {found['families']} families, of which {found['settled']} "
        f"settled their claim. At {ALPHA:g} a family at most {number(ALPHA * found['families'])} families with a false "
        f"verdict are to be expected. With p corrected over all {found['tests']} tests {found['over_paper']} of the "
        f"{found['settled']} remain."
        for found in card["tests"]
        if found["tests"]
    ]


def notes(card: dict) -> list[str]:
    """What a reader must know before the verdicts: the scale, mixed versions, claims edited after training."""
    edits = edits_note(card, "listed below the totals")
    here = sum(card["totals"].values()) - card["totals"]["untestable"]
    judged = f"{len(card['claims'])} claims, of which {here} can be judged at scale {card['scale']}."
    return [text for text in (card["scale_note"], judged, *card["warnings"], edits) if text]
