"""Answers to checklist questions: each a word, and as HTML what the records say and where to look."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from moe_replication.report.citations import TOOLS
from moe_replication.report.cost import ATTEMPTS, NOT_COUNTED, carbon_text, duration, energy_text, quantity
from moe_replication.report.html import badge, escape, table
from moe_replication.report.origins import UNUSED
from moe_replication.report.records import Records, code_licence
from moe_replication.report.scorecard_words import edits_note
from moe_replication.report.verdicts import KINDS

YES, PARTLY, NOT_APPLICABLE, AUTHOR = "yes", "partly", "not applicable", "for the author"
Answer = tuple[str, str]


def claims(records: Records) -> Answer:
    """Verdicts by kind; whether the article's words agree is the author's to say."""
    lines = []
    for name, kind in KINDS.items():
        counts = records.verdicts(name)
        badges = " ".join(f"{badge(verdict)}&nbsp;{count}" for verdict, count in counts.items())
        lines.append(f"{escape(kind.title)}: {badges or 'none listed'}.")
    if edits := edits_note(records.card, "the scorecard names them"):
        lines.append(edits)
    return PARTLY, _lines(
        *lines, f"Every verdict with its evidence: {_file(records, 'scorecard.html')}. That the article claims no more"
        " than this is for the author to check.",
    )  # fmt: skip


def limitations(records: Records) -> Answer:
    """What the scale, its stand-ins, the seeds and mixed versions leave open."""
    fewest, _ = records.seeds
    used = {entry.name for entry in records.data_sets}
    stand_ins = [f"{own} for {real}" for real, own in records.project.scale.stand_ins.items() if own in used]
    lines = [
        f"Scale: {escape(records.project.scale.description)}.",
        f"Claims that this scale cannot speak to: {records.card['totals']['untestable']} of"
        f" {len(records.card['claims'])}.",
        f"Fewest seeds of a condition: {fewest}. An exact sign-flip test of so many cannot go below"
        f" p = {2 / 2**fewest:.3g}.",
    ]
    if stand_ins:
        lines.append(f"Data that stand in for the papers': {escape(', '.join(stand_ins))}.")
    lines += [f"Warning: {escape(text)}." for text in records.card["warnings"]]
    lines.append("Readings and reconstructions: <code>docs/discrepancies.md</code> and the settings below.")
    return YES, _lines(*lines)


def theory(records: Records) -> Answer:
    """Nothing is proved here."""
    return NOT_APPLICABLE, "No theorem is stated or proved; paper B's rule E is tested on runs."


def reproducibility(records: Records) -> Answer:
    """What fixes a run, and the command."""
    runs = records.runs
    exact = runs.filter("deterministic").height
    imported = runs["imported"].sum()
    return YES, _lines(
        f"<code>make replicate SCALE={escape(records.project.scale.name)}</code> makes data, runs, tables, figures,"
        " verdicts and this report.",
        "Each run's <code>config.json</code> holds every setting with its origin; <code>run.json</code> its seed and"
        f" the digests of data and lock file ({_shown(records, 'lock_sha256')}) and of training code"
        f" ({_shown(records, 'training_code')}).",
        f"Deterministic mode in {exact} of {runs.height} runs."
        + (f" Imported from a bundle: {imported}." if imported else ""),
    )


def access(records: Records) -> Answer:
    """Licence of the code, where data come from; publication is the author's."""
    places = ", ".join(f"{escape(entry.title)} ({escape(entry.place)})" for entry in records.data_sets)
    return PARTLY, _lines(
        f"Code: {escape(code_licence())}. Data: {places}.",
        "<code>moe-replication export</code> packs records, curves and settings with their SHA-256, no weights.",
        "Where code and records are published is for the author to say.",
    )


def setting(records: Records) -> Answer:
    """Origins of the settings, and what is known of how they were chosen."""
    counts = {kind: count for kind, count in records.origins.items() if count and kind != UNUSED}
    text = ", ".join(f"{kind} {count}" for kind, count in counts.items())
    conditions = records.runs.select("paper", "condition").n_unique()
    rows = [[escape(cell) for cell in row] for row in records.rates]
    return PARTLY, _lines(
        f"Settings by origin: {text}; counted by paper and, where reconstructed, listed below. Files:"
        " <code>config/papers</code>, <code>config/scales</code>.",
        f"All {records.runs.height} runs of {conditions} of the {records.matrix} conditions of the matrix are in the"
        " tables, whatever came out. Trials outside this folder of results are not recorded: whether there was a search"
        " is for the author to say.",
        "Scores are of the end of training; the best of a curve is shown and never tested.",
        "The learning rates and where they come from:",
    ) + table(("Paper", "Setting", "Value", "From", "Conditions"), rows, [4])


def splits(records: Records) -> Answer:
    """Sizes of training and evaluation parts."""
    return (YES if all(split.known for split in records.splits) else PARTLY), _lines(
        *(f"{escape(split.text)}." for split in records.splits)
    )


def statistics(records: Records) -> Answer:
    """Seeds, what the intervals cover, tests and corrections."""
    fewest, most = records.seeds
    seeds = str(fewest) if fewest == most else f"{fewest} to {most}"
    return YES, _lines(
        f"{seeds} seeds a condition, all reported; no best run is picked.",
        "Error bars are 95 % t intervals of the mean over seeds, from the standard deviation with n - 1. They cover"
        " what changes with the seed (initial weights, order of data, random draws), neither another data set nor other"
        " settings, and assume values that are about normal.",
        "Differences are paired by seed; exact permutation tests stand beside the t tests; p values are corrected by"
        f" Holm within families stated with the claims. Rules: the end of {_file(records, 'scorecard.html')}.",
        f"Means, intervals and tests of every condition: {_file(records, 'summary.parquet')},"
        f" {_file(records, 'comparisons.parquet')}.",
    )


def compute(records: Records) -> Answer:
    """Devices, hours, energy and failed attempts."""
    runs, costs = records.runs, records.costs
    devices = ", ".join(escape(name if name != "cpu" else f"CPU ({_shown(records, 'cpu')})") for name in
                        records.values("device"))  # fmt: skip
    hours = ", ".join(f"{quantity(value)} {unit}-hours" for unit, value in costs.hours.items())
    energy = (
        f"about {energy_text(costs.kwh)} and {carbon_text(costs.kg_co2)} of CO2" if not costs.unknown else "unknown"
    )
    counts = ", ".join(f"{word} {runs[name].sum()}" for name, word in ATTEMPTS.items())
    return PARTLY, _lines(
        f"{devices}; {hours} of training, a run {duration(runs['wall_seconds'].min())} to"
        f" {duration(runs['wall_seconds'].max())}; energy {energy}.",
        f"Attempts at the {runs.height} runs: {counts}.",
        f"By condition, against the plan, with every assumption: {_file(records, 'pages/environment.html')}.",
        f"Not in these sums: {NOT_COUNTED}. Not recorded: memory at its highest; runs of other scales and of"
        " development.",
    )


def parameters(records: Records) -> Answer:
    """Sizes of the models, then `compute`."""
    sizes = records.runs.group_by("paper", maintain_order=True).agg(
        pl.col("parameters_total").min().alias("least"), pl.col("parameters_total").max().alias("most")
    )
    lines = [
        f"{escape(paper)}: {' to '.join(f'{size:,}' for size in sorted({least, most}))} parameters."
        for paper, least, most in sizes.iter_rows()
    ]
    answer, text = compute(records)
    return answer, _lines(*lines, text)


def packages(records: Records) -> Answer:
    """Versions of what the runs were computed with."""
    shown = ", ".join(f"{name} {_shown(records, name)}" for name in ("python", "torch", "deepspeed"))
    return YES, _lines(f"{shown}; every other package is pinned in <code>requirements.lock</code>.")


def safeguards(records: Records) -> Answer:
    """What could be misused: no weights leave."""
    largest = records.runs["parameters_total"].max()
    return NOT_APPLICABLE, _lines(
        f"No weights are distributed; the largest model trained here has {largest:,} parameters. Should the author"
        " release weights or data, this question is open again."
    )


def makers(records: Records) -> Answer:
    """Whose data, tools and papers are used."""
    return YES, _lines(
        *(f"{escape(entry.title)}: {escape(entry.cite)}." for entry in records.data_sets),
        *(f"{escape(name)}: {escape(cite)}." for name, cite in TOOLS.items()),
        "The papers, the tools and this replication: <code>CITATION.cff</code>.",
    )


def licences(records: Records) -> Answer:
    """Whose the data are, under which terms."""
    rows = [
        [escape(text) for text in (entry.title, entry.cite, entry.licence, entry.use)] for entry in records.data_sets
    ]
    return YES, (
        table(("Data set", "Whose", "Licence", "Used for"), rows)
        + f"<p>This code: {escape(code_licence())}. Terms as their authors state them:"
        " <code>config/data_sets.yaml</code>.</p>"
    )


def intended_use(records: Records) -> Answer:
    """Research; the terms are known, the judgement is the author's."""
    named = ", ".join(f"{escape(entry.title)}: {escape(entry.licence)}" for entry in records.data_sets)
    return AUTHOR, _lines(f"The data are used for research only. Terms to hold this against: {named}.")


def documentation(records: Records) -> Answer:
    """What is in the data."""
    return YES, _lines(*(f"{escape(entry.title)}: {escape(entry.about)}." for entry in records.data_sets))


def assets(records: Records) -> Answer:
    """Documentation of code and records."""
    return YES, _lines(
        "Code: <code>README.md</code>, <code>docs/architecture.md</code>, <code>config/README.md</code>. Records: a"
        " bundle's <code>manifest.json</code> lists every file with its SHA-256."
    )


def people(records: Records) -> Answer:
    """No step of the DAG deals with people."""
    return NOT_APPLICABLE, "No step of the DAG asks, pays or observes people. The author confirms."


def personal_data(records: Records) -> Answer:
    """Nothing was checked."""
    named = ", ".join(escape(entry.title) for entry in records.data_sets)
    return AUTHOR, f"Nothing here looks for names or offensive content in {named}; the records cannot say."


def author(records: Records) -> Answer:
    """Nothing in the records answers this."""
    return AUTHOR, "The records cannot answer this."


def assistants(records: Records) -> Answer:
    """Help by AI in research, code or writing is not recorded."""
    return AUTHOR, "No record says whether AI assistants helped with research, code or writing; the author declares it."


def _lines(*lines: str) -> str:
    return "".join(f"<p>{line}</p>" for line in lines)


def _file(records: Records, name: str) -> str:
    return f"<code>results/{escape(records.project.scale.name)}/{name}</code>"


def _shown(records: Records, column: str) -> str:
    """The different values of a column; digests by their first twelve digits."""
    return _joined(str(value)[:12] if column.endswith("sha256") else str(value) for value in records.values(column))


def _joined(values: Iterable[str]) -> str:
    return escape(" and ".join(values)) or "not recorded"
