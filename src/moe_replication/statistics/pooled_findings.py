"""What all runs of many conditions say about one claim, over runs and over conditions.

Runs of one condition resemble one another, so that a p over runs is too small where conditions differ among
themselves. Groups and pooled signs are therefore tested twice, and the larger p counts. Where a side is one condition
only, on both sides of a comparison, the claim is about that condition, and runs decide.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean, median

import polars as pl

from moe_replication.config.analysis import AnalysisSettings
from moe_replication.statistics.bootstrap import bootstrap_groups
from moe_replication.statistics.compare import seed_values
from moe_replication.statistics.exact_tests import sign_test, stratified_fisher, stratified_permutation
from moe_replication.statistics.finding import Conditions, Finding
from moe_replication.statistics.intervals import clopper_pearson
from moe_replication.statistics.replicated import of_conditions, of_runs, single_pair

OF_A_RATE = "95 % Clopper-Pearson interval"


def measure_sign(claim: dict, values: dict[str, list[float]]) -> Finding:
    """Runs above and below the threshold, and beside them the conditions' medians; `values` by condition."""
    found = sign_test([value - claim["threshold"] for column in values.values() for value in column])
    n, share, low, high = found.above + found.below, None, None, None
    if n:
        share, (low, high) = found.above / n, clopper_pearson(found.above, n)
    p_value, minimum, units, note = found.p, found.minimum, f"at n = {n}", ""
    above_of = [(found.above, n)]
    if len(values) > 1:
        medians = sign_test([median(column) - claim["threshold"] for column in values.values()])
        above_of.append((medians.above, medians.above + medians.below))
        units = f"with {_count(above_of[1][1])} off the threshold"
        note = _both(found.p, medians.p, f"the medians of {_count(len(values))}", medians.minimum)
        p_value, minimum = max(found.p, medians.p), max(found.minimum, medians.minimum)
    return Finding(
        n=n,
        effect=share,
        distance=share - 0.5 if n else None,
        low=low,
        high=high,
        interval=OF_A_RATE if n else None,
        p=p_value,
        p_minimum=minimum,
        reach=minimum,
        units=units,
        ties=found.zeros,
        above_of=tuple(above_of),
        note=note,
    )


def measure_groups(
    claim: dict, runs: pl.DataFrame, table: pl.DataFrame, when: str, analysis: AnalysisSettings
) -> Finding:
    """The two groups within data sets; `table` holds the metric, `runs` the data sets, `when` names an epoch."""
    by_set: dict[str | None, tuple[list[list[float]], list[list[float]]]] = defaultdict(lambda: ([], []))
    absent, empty = [], ""
    for side, names in enumerate((claim["conditions"], claim["against"])):
        found = {name: seed_values(table, claim["paper"], name, claim["metric"]) for name in names}
        absent += [name for name in names if not found[name]]
        if not any(found.values()):
            empty = empty or f"no run of {', '.join(names)} has a value of {claim['metric']}{when}"
        for name, values in found.items():
            if values:
                dataset = next(iter(seed_values(runs, claim["paper"], name, "dataset").values()), None)
                by_set[dataset][side].append(list(values.values()))
    strata = [pair for pair in by_set.values() if all(pair)]
    if not strata:
        return Finding(missing=empty or "no data set has runs of both groups")
    lone = {str(name): sum(map(len, pair[0] + pair[1])) for name, pair in by_set.items() if not all(pair)}
    notes = []
    if absent:
        notes.append(f"left out, not run or without a value here: {', '.join(absent)}")
    if lone:
        notes.append(f"left out, as only one group has runs on {', '.join(lone)}: {sum(lone.values())} run(s)")
    return _compare_groups(claim, strata, notes, analysis)


def _compare_groups(claim: dict, strata: Conditions, notes: list[str], analysis: AnalysisSettings) -> Finding:
    fisher = claim["test"] == "fisher"
    if fisher:
        limit = claim.get("threshold", 0)
        strata = [tuple([[run > limit for run in runs] for runs in group] for group in pair) for pair in strata]
    runs = of_runs(strata)
    found = stratified_fisher(runs) if fisher else stratified_permutation(runs)
    groups = [[run for pair in runs for run in pair[side]] for side in (0, 1)]
    sizes = tuple(map(len, groups))
    p_value, minimum, units = found.p, found.minimum, f"with {sizes[0]} runs against {sizes[1]}"
    if fisher:
        notes = [_odds_note(found.odds_ratio), *_clean_notes(groups), *notes]
    if not single_pair(strata):
        above = stratified_permutation(of_conditions(strata))
        counts = [sum(len(pair[side]) for pair in strata) for side in (0, 1)]
        level = f"{_count(counts[0])} against {counts[1]}"
        notes = [_both(found.p, above.p, level, above.minimum), *notes]
        p_value, minimum, units = max(found.p, above.p), max(found.minimum, above.minimum), f"with {level}"
    low, high, interval = _interval(strata, analysis)
    return Finding(
        n=sum(sizes),
        effect=found.difference,
        low=low,
        high=high,
        interval=interval,
        p=p_value,
        p_minimum=minimum,
        reach=minimum,
        units=units,
        sizes=sizes,
        means=tuple(fmean(group) for group in groups),
        strata=strata,
        note="; ".join(notes),
    )


def _interval(strata: Conditions, analysis: AnalysisSettings) -> tuple[float | None, float | None, str | None]:
    """Both ends and their name: over conditions, or over runs where each side is one condition."""
    units = "conditions"
    if single_pair(strata):
        units, strata = "runs", [tuple([[run] for run in group[0]] for group in strata[0])]
    low, high = bootstrap_groups(strata, analysis.resamples, analysis.resample_seed)
    return low, high, None if low is None else f"descriptive 95 % bootstrap interval over {units}"


def _count(conditions: int) -> str:
    return f"{conditions} condition{'' if conditions == 1 else 's'}"


def _both(over_runs: float, over_conditions: float, level: str, minimum: float) -> str:
    return (
        f"p = {over_runs:.3g} over runs and {over_conditions:.3g} over {level}, which can reach {minimum:.3g}; "
        "the larger counts"
    )


def _odds_note(odds_ratio: float | None) -> str:
    return "odds ratio undefined" if odds_ratio is None else f"odds ratio {odds_ratio:.3g} (Mantel-Haenszel)"


def _clean_notes(groups: list[list[bool]]) -> list[str]:
    """What no event in a group's runs still allows."""
    return [
        f"none in the {name} group's {len(group)} run(s) still allows a rate up to "
        f"{100 * clopper_pearson(0, len(group))[1]:.3g} % (upper end of the two-sided 95 % Clopper-Pearson interval)"
        for name, group in zip(("first", "second"), groups, strict=True)
        if not any(group)
    ]
