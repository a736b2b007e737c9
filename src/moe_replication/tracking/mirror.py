"""Run records, summaries over seeds, verdicts and figures, copied into MLflow; twice changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from moe_replication.config.project import Project
from moe_replication.statistics.claims import UNJUDGED
from moe_replication.tracking.entries import Entry, figure_entry, run_entry
from moe_replication.tracking.links import base_address, comparison
from moe_replication.tracking.readings import claim_conditions, claims_on, verdict_counts
from moe_replication.tracking.store import Store, open_store
from moe_replication.tracking.summaries import Tables, headline, read_tables, summary_entry

NOTE_LENGTH = {"run": 8000, "experiment": 20000}  # characters that MLflow keeps of a description
HOW_TO = (
    "Each condition has a summary run, named with its n; its seed runs lie below it. Of its parameters `Value/...` is",
    "the mean over seeds with its 95 % interval, `Vs/...` the paired difference to the condition's baseline. A claim's",
    "link opens the page that compares its conditions:",
)


@dataclass(frozen=True, kw_only=True)
class MirrorReport:
    """How many MLflow runs a mirroring made, replaced and left alone, and where claims are to be looked at.

    claims: id -> verdict, and the address that compares its conditions (None: none of them ran).
    summaries: "{paper}/{condition}" -> experiment and run.
    """

    created: int
    updated: int
    unchanged: int
    claims: dict[str, dict[str, str | None]]
    summaries: dict[str, dict[str, str]]


def mirror(project: Project, uri: str) -> MirrorReport:
    """Bring the MLflow store at `uri` in line with the runs, tables, scorecard and figures of a scale.

    One experiment `{paper}/{scale}` per paper. BadInput names a faulty record or table, TrackingError a store that
    fails.
    """
    results = project.root / "results" / project.scale.name
    tables = read_tables(results)
    parts = {(run.paper, run.condition, run.seed): run_entry(project, run) for run in project.runs}
    counts = {"created": 0, "updated": 0, "unchanged": 0}
    claims: dict[str, dict[str, str | None]] = {}
    summaries: dict[str, dict[str, str]] = {}
    with open_store(uri, results) as store:
        for paper in project.papers:
            own = {key[1:]: entry for key, entry in parts.items() if key[0] == paper}
            experiment, ids = _mirror_paper(store, project, tables, paper, own, counts)
            pages = _claim_pages(tables, paper, experiment, ids)
            store.describe_experiment(experiment, _experiment_note(tables, paper, pages))
            summaries |= {f"{paper}/{name}": {"experiment": experiment, "run": run} for name, run in ids.items()}
            for claim in tables.claims:
                if claim["paper"] == paper:
                    page = pages.get(claim["id"])
                    address = None if page is None else base_address(uri) + page
                    claims[claim["id"]] = {"verdict": claim["verdict"], "compare": address}
    return MirrorReport(**counts, claims=claims, summaries=summaries)


def _mirror_paper(
    store: Store, project: Project, tables: Tables, paper: str, parts: Mapping[tuple[str, int], Entry], counts: dict
) -> tuple[str, dict[str, str]]:
    """Id of the paper's experiment, and of the summary run of every condition."""
    experiment = store.experiment(f"{paper}/{project.scale.name}")
    present = store.runs(experiment)
    summaries: dict[str, str] = {}

    def bring(entry: Entry, parent: str = "") -> str:
        run_id, done = store.bring_in_line(experiment, entry, present.get(entry.identity, []), parent)
        counts[done] += 1
        return run_id

    for (condition, _), part in parts.items():
        if condition not in summaries:
            summaries[condition] = bring(summary_entry(project, tables, paper, condition, part))
    for (condition, _), part in parts.items():
        bring(part, summaries[condition])
    figures = figure_entry(project, paper)
    if figures is not None:
        bring(figures)
    pages = _claim_pages(tables, paper, experiment, summaries)
    for condition, run_id in summaries.items():
        note = _condition_note(tables, paper, condition, pages)
        store.describe_run(run_id, note, present.get(f"summary/{condition}", []))
    return experiment, summaries


def _claim_pages(tables: Tables, paper: str, experiment: str, summaries: Mapping[str, str]) -> dict[str, str]:
    """Claim -> page that compares the summaries of its conditions, where any of them ran."""
    pages = {}
    for claim in tables.claims:
        runs = [summaries[name] for name in claim_conditions(claim) if claim["paper"] == paper and name in summaries]
        if runs:
            pages[claim["id"]] = comparison(experiment, list(dict.fromkeys(runs)))
    return pages


def _condition_note(tables: Tables, paper: str, condition: str, pages: Mapping[str, str]) -> str:
    lines = [
        f"- {claim['verdict']}: [{claim['id']}]({pages[claim['id']].removeprefix('/')}) {claim['sentence']}"
        for claim in sorted(claims_on(tables.claims, paper, condition), key=_judged_first)
    ]
    return _fitting([*headline(tables, paper, condition), "", *lines], NOTE_LENGTH["run"])


def _experiment_note(tables: Tables, paper: str, pages: Mapping[str, str]) -> str:
    claims = sorted((claim for claim in tables.claims if claim["id"] in pages), key=_judged_first)
    lines = [f"- {claim['verdict']}: [{claim['id']}]({pages[claim['id']].removeprefix('/')})" for claim in claims]
    judged = verdict_counts(claim for claim in tables.claims if claim["paper"] == paper)
    return _fitting([f"Claims: {judged}.", "", *HOW_TO, "", *lines], NOTE_LENGTH["experiment"])


def _judged_first(claim: dict) -> tuple[bool, str]:
    return claim["verdict"] in UNJUDGED, claim["id"]


def _fitting(lines: list[str], length: int) -> str:
    """The first lines that fit, and where the rest is."""
    rest = "- more in scorecard.md and mirror.json of the results"
    text = "\n".join(lines)
    while len(text) > length:
        lines = lines[:-1]
        text = "\n".join([*lines, rest])
    return text
