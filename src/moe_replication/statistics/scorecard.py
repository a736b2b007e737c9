"""The scorecard as data: verdicts on the papers' claims, their totals, and which claims were edited after training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from moe_replication.config.analysis import ANALYSIS_FILE, AnalysisSettings, analysis_digest
from moe_replication.config.claims import claim_digest
from moe_replication.files import sha256_json, write_json
from moe_replication.statistics.claims import PAPER_CELL, SAME_CLAIM, VERDICTS, judge
from moe_replication.statistics.collect import REGISTERED, read_parquet, read_runs
from moe_replication.statistics.derived import with_derived
from moe_replication.statistics.hypothesis_tests import ALPHA


def write_scorecard(
    results: Path | str, claims: Sequence[dict], scale: str, analysis: AnalysisSettings, scale_note: str = ""
) -> dict:
    """Judge the claims on the collected tables in `results`; write scorecard.json there and return its content."""
    results = Path(results)
    curves = read_parquet(results / "curves.parquet", ("paper", "condition", "seed", "epoch"))
    experts = read_parquet(results / "experts.parquet", ("paper", "condition", "seed", "layer"))
    probes = read_parquet(results / "probe-metrics.parquet", ("paper", "condition", "seed"))
    runs = with_derived(read_runs(results / "runs.parquet"), curves, experts, probes, analysis)
    registered = read_parquet(results / "registered-claims.parquet", tuple(REGISTERED))
    card = scorecard(claims, runs, curves, scale, analysis, scale_note) | {
        "claims_edited": edited(claims, analysis, runs, registered)
    }
    write_json(results / "scorecard.json", card)
    return card


def scorecard(
    claims: Sequence[dict],
    runs: pl.DataFrame,
    curves: pl.DataFrame,
    scale: str,
    analysis: AnalysisSettings,
    scale_note: str = "",
) -> dict:
    """What scorecard.json says of the runs; `warnings` names papers whose runs come from several versions.

    `totals` counts all verdicts, `sections` those of one paper and kind, `tests` the tests behind them;
    `trained` lists conditions with runs.
    """
    mixed = runs.filter("mixed_versions")["paper"].unique().sort().to_list()
    judged = judge(claims, runs, curves, scale, analysis)
    return {
        "scale": scale,
        "scale_note": scale_note,
        "claims_sha256": sha256_json(list(claims)),
        "claims_edited": [],
        "totals": totals(judged),
        "sections": sections(judged),
        "tests": tests_of(judged),
        "warnings": [
            f"{paper}: runs of several versions are pooled; see mixed_versions in runs.parquet" for paper in mixed
        ],
        "trained": {
            paper: runs.filter(paper=paper)["condition"].unique().sort().to_list()
            for paper in runs["paper"].unique().sort()
        },
        "claims": judged,
    }


def edited(
    claims: Sequence[dict], analysis: AnalysisSettings, runs: pl.DataFrame, registered: pl.DataFrame
) -> list[dict]:
    """What is not as all of a paper's `of` runs were trained under, claims and the analysis' definitions.

    changed: `runs` knew it otherwise. added: `runs` did not know it. added and changed: `runs` knew it otherwise,
    `without` further ones did not know it. removed: `runs` knew it.
    """
    sizes = Counter(runs["paper"])
    knew: dict[tuple[str, str], Counter] = {}
    for paper, claim, digest, count in registered.select(tuple(REGISTERED)).iter_rows():
        knew.setdefault((paper, claim), Counter())[digest] += count
    today = {(claim["paper"], claim["id"]): claim_digest(claim) for claim in claims}
    today |= {(paper, ANALYSIS_FILE): analysis_digest(analysis) for paper in sizes}
    found = []
    for place, digest in today.items():
        digests = knew.pop(place, Counter())
        without, otherwise = sizes[place[0]] - digests.total(), digests.total() - digests[digest]
        if otherwise:
            found.append((*place, "added and changed" if without else "changed", otherwise, without))
        elif without:
            found.append((*place, "added", without, 0))
    found += [(*place, "removed", digests.total(), 0) for place, digests in knew.items()]
    return [
        {"id": name, "paper": paper, "change": change, "runs": count, "without": without, "of": sizes[paper]}
        for paper, name, change, count, without in found
    ]


def tests_of(entries: Sequence[dict]) -> list[dict]:
    """By paper: how many tests in how many families, how many settled their claim, and how many of those would have
    with p corrected over all tests of the paper."""
    found = []
    for paper in dict.fromkeys(entry["paper"] for entry in entries):
        tested = [entry for entry in entries if entry["paper"] == paper and entry["p"] is not None]
        settled = [entry for entry in tested if entry["verdict"] in ("reproduced", "contradicted")]
        found.append(
            {
                "paper": paper,
                "tests": len(tested),
                "families": len({entry["family"] for entry in tested}),
                "settled": len(settled),
                "over_paper": sum(entry["p_paper"] < ALPHA for entry in settled),
            }
        )
    return found


def totals(entries: Sequence[dict]) -> dict[str, int]:
    """Verdict -> how many of the entries have it."""
    counts = Counter(entry["verdict"] for entry in entries)
    return {verdict: counts[verdict] for verdict in VERDICTS}


def sections(entries: Sequence[dict]) -> list[dict]:
    """Totals by kind and paper: a claim's direction at our scale is never counted with a paper's cell."""
    papers = list(dict.fromkeys(entry["paper"] for entry in sorted(entries, key=lambda entry: entry["id"][0])))
    found = []
    for kind in (SAME_CLAIM, PAPER_CELL):
        for paper in papers:
            part = [entry for entry in entries if (entry["kind"], entry["paper"]) == (kind, paper)]
            if part:
                found.append({"kind": kind, "paper": paper, "totals": totals(part)})
    return found
