"""config/claims/expert-ecology.yaml: all findings and numbers of the paper, at conditions that fit what it says."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import yaml

from moe_replication.config import load_project
from moe_replication.config.analysis import analysis_settings
from moe_replication.config.claims import load_claims
from moe_replication.ecology.control_number import control_number
from moe_replication.statistics.hypothesis_tests import ALPHA
from moe_replication.statistics.studies import CROSS, meets

ROOT = Path(__file__).parents[2]
PAPER = "expert-ecology"
CLAIMS = {
    claim["id"]: claim for claim in load_claims(ROOT / "config/claims", ROOT / "workflow/schemas/claims.schema.yaml")
}
OURS = [claim for claim in CLAIMS.values() if claim["paper"] == PAPER]
CELLS = [claim for claim in OURS if claim["comparison"] == "value"]
GROUPS = [claim for claim in OURS if claim["comparison"] == "groups"]
POOLED = [claim for claim in GROUPS if claim["metric"] == "dead_experts"]
ACROSS = ("threshold", "held-out", "lines")  # families of orderings, the first below .5 and the second not
ISO = ("iso-low", "iso-at-threshold", "iso-high", "iso-entropy")
ANALYSIS = analysis_settings(ROOT)
CLOSE = {"abs": 1e-6}  # some weights in config/papers are rounded to six digits

# The facts file's findings, and what judges each.
FINDINGS = {
    "sufficiency": ["b-v1-no-dead", "b-v3-no-dead", "b-guarantee-hard-task", "b-l1-no-dead", "b-l4-no-dead"],
    "faithful and trained arm": ["b-l3-trained-no-dead", "b-l3-has-learned", "b-l3-as-alive-as-l1"],
    "pooled": ["b-pooled-all", "b-pooled-all-any", "b-pooled-cifar100", "b-v6-no-entropy-below-threshold"],
    "S1 revival": ["b-v6-revives", "b-balance-on-revives", "b-v6-balance-revives", "b-v6-no-balance-stalls"],
    "S1 collapse without balance": ["b-v6-no-balance-collapses", "b-v6-balance-keeps-alive"],
    "S1 four harmless arms": [f"b-v6-{arm}-not-needed" for arm in ("entropy", "divergence", "annealing", "prototypes")],
    "S2 ortho": ["b-v2-ortho-not-toxic", "b-v4-ortho-toxic", "b-l2-ortho-not-toxic", "b-ortho-depends-on-data"],
    "N warm-up": ["b-v5-warm-up-optional", "b-v5-warm-up-raises-peak", "b-v5-warm-up-delays-recovery"],
    "S3 threshold shifts": ["b-threshold-shifts", "b-threshold-shifts-high", "b-v7-raising-e-does-not-repair"],
    "S4 overfitting": ["b-l3-overfits", "b-l3-healthy", "b-l4-overfits", "b-l4-healthy", "b-v1-healthy"],
    "S5 two tiers": ["b-v6-tier-starves", "b-two-tiers-remain", "b-v6-middle-tier-starves"],
    "S6 easy task": [f"b-v1-scan-{name}" for name in ("mass-active", "mass-tiers", "hard-gradient", "accuracy")],
    "S6 hard task": [f"b-v6-scan-{name}" for name in ("mass-active", "mass-tiers", "hard-gradient", "accuracy")],
    "V2 third tier": ["b-x1-third-tier-returns"],
    "V2 seeds": ["b-cell-x1-seeds"],
    "V2 hierarchy": [
        "b-x1-hierarchy-equals-flat",
        "b-x1-cifar100-hierarchy-equals-flat",
        "b-x1-cifar100-flat-is-better",
    ],
    "V2 stable end": ["b-x1-late-accuracy-stable"],
    "review: iso-E": ["b-iso-no-dead", "b-iso-levels", "b-iso-levels-any", "b-iso-threshold-round"],
    "review: one factor, pooled": ["b-lines-no-dead", "b-lines-levels"],
    "review: one factor": ["b-line-temperature", "b-line-entropy", "b-line-oracle", "b-line-balance"],
    "review: held-out": ["b-heldout-no-dead", "b-heldout-cifar100-below-threshold"],
    "review: grid": ["b-grid-no-dead", "b-grid-levels", "b-grid-levels-any"],
    "review: definitions": [f"b-definition-{name}" for name in ("tenth-percent", "assigned", "silent", "fair-share")],
    "review: no balance loss": ["b-no-balance-needed", "b-no-balance-needed-elsewhere", "b-line-balance-zero"],
    "review: paper A's rules": ["b-cross-et-irrelevant", "b-cross-ec-irrelevant", "b-cross-et-saves-experts"],
    "review: E on Token Choice": ["a-cross-tc-dead-below-threshold", "a-cross-tc-losses-save-experts"],
}

# The facts file's numbers: (condition, metric, epoch or None for the end) -> value.
NUMBERS = {
    ("v6", "dead_experts", 40): 7,
    ("v7-e1.0", "dead_experts", 40): 7,
    ("v8-32-experts", "dead_experts", 40): 25,
    ("v6", "dead_experts", 10): 12,
    ("v6", "dead_experts", 80): 4,
    ("v6-no-balance", "dead_experts", 80): 12,
    ("v6", "test_accuracy", 40): 0.3341,
    ("v7-e1.0", "test_accuracy", 40): 0.2719,
    ("v8-32-experts", "test_accuracy", 40): 0.2699,
    ("l1", "perplexity", None): 35041,
    ("l2-ortho-0.02", "perplexity", None): 33493,
    ("l2-ortho-0.05", "perplexity", None): 35737,
    ("l2-ortho-0.10", "perplexity", None): 33163,
    ("l2-ortho-0.20", "perplexity", None): 37812,
    ("l4", "perplexity", None): 6918,
    ("v3-e0.545", "dead_experts_peak", None): 9,
    ("v5-random-warmup", "dead_experts_peak", None): 13,
    ("v3-e0.545", "recovery_epoch", None): 60,
    ("v5-random-warmup", "recovery_epoch", None): 80,
    ("x1-4444", "tier_share_2", 30): 0.009,
    ("x1-4444", "tier_share_2", 99): 0.091,
    ("x1-4444", "test_accuracy", None): 0.4751,
    ("x1-cifar100-4444", "test_accuracy", None): 0.6440,
    ("x1-cifar100-flat", "test_accuracy", None): 0.6588,
}

DEAD = {"dead_experts"}
BY_EPOCH = {"dead_experts", "dead_experts_peak", "dead_experts_revived", "recovery_epoch", "collapsed"}
# What a reader can take from each figure: metrics it draws, or whose course over epochs it draws.
SHOWN = {
    **dict.fromkeys(("b-dead-vs-e", "b-phase-map", "b-lines", "b-threshold-grid", "b-table-tests"), DEAD),
    "b-usage-by-epoch": {*DEAD, "experts_returned", "experts_dead_lasting"},
    "b-iso-e": {"dead_experts", "usage_entropy"},
    "b-cross": {"dead_experts", "dead_experts_assigned", "usage_entropy", "test_accuracy"},
    "b-ortho": {"dead_experts", "test_accuracy", "perplexity"},
    "b-revival": BY_EPOCH,
    "b-collapse": {"starved_tiers", "smallest_relative_share", "collapsed"},
    "b-tier-shares": {"smallest_relative_share", "tier_share_1", "tier_share_2", "tier_share_gain_2"},
    # Perplexity as its logarithm, the loss.
    "b-overfitting": {"val_loss", "perplexity", "overfit", "dead_since_best", *BY_EPOCH},
    "b-accuracy": {"test_accuracy", "late_accuracy_range"},
    "b-definitions": {*DEAD, "dead_experts_assigned", "dead_experts_tenth_percent", "dead_experts_fair_share",
                      "silent_experts"},
    "b-temperature-scan": {"scan_accuracy_range", "scan_mass_active_range", "scan_mass_tier_range",
                           "scan_hard_gradient_range"},
}  # fmt: skip


def names(claim):
    return (*claim["conditions"], *claim.get("against", ()))


def cell_of(claim):
    return claim["conditions"][0], claim["metric"], claim.get("epoch")


@pytest.fixture(scope="module")
def conditions():
    """Paper B's conditions by name, with the paper's own data sets."""
    return load_project(ROOT, {"scale": "paper"}).papers[PAPER].conditions


@pytest.fixture(scope="module")
def control_numbers(conditions):
    """E of every condition, from its settings; None where O = B = 0."""
    ecologies = {name: condition.config.ecology for name, condition in conditions.items()}
    return {
        name: control_number(e.temperature, e.entropy_weight, e.oracle_weight, e.balance_weight)
        for name, e in ecologies.items()
    }


@pytest.fixture(scope="module")
def above(control_numbers):
    """Whether a condition's E is .5 or more, where it is defined."""
    known = {name: control for name, control in control_numbers.items() if control is not None}
    return {name: meets(control, ANALYSIS.rule_threshold) for name, control in known.items()}


@pytest.mark.parametrize("finding", FINDINGS)
def test_every_finding_is_judged(finding):
    assert [name for name in FINDINGS[finding] if name not in CLAIMS] == []


@pytest.mark.parametrize("scale", ["demo", "cpu", "cifar", "gpu", "paper"])
def test_a_claim_names_a_scale_only_where_all_its_conditions_run(scale):
    papers = load_project(ROOT, {"scale": scale}).papers
    wanted = [claim for claim in OURS if scale in claim["scales"]]
    assert wanted
    for claim in wanted:
        missing = [name for name in names(claim) if name not in papers[PAPER].conditions]
        assert not missing, f"{claim['id']} at {scale}: {missing}"


def test_every_figure_that_a_claim_names_is_drawn():
    drawn = load_project(ROOT, {"scale": "paper"}).figures
    assert {figure for claim in CLAIMS.values() for figure in claim["figures"]} <= set(drawn)


@pytest.mark.parametrize("claim", OURS, ids=lambda claim: claim["id"])
def test_every_figure_of_a_claim_shows_its_metric(claim):
    assert claim["figures"]
    assert [figure for figure in claim["figures"] if claim["metric"] not in SHOWN[figure]] == []


@pytest.mark.parametrize("claim", POOLED, ids=lambda claim: claim["id"])
def test_groups_lie_on_the_two_sides_of_the_threshold(claim, above):
    assert claim["direction"] == "greater"
    assert not any(above[name] for name in claim["conditions"])
    assert all(above[name] for name in claim["against"])


@pytest.mark.parametrize("claim", [c for c in OURS if c.get("family") in ACROSS], ids=lambda claim: claim["id"])
def test_pairs_lie_on_the_two_sides_of_the_threshold(claim, above):
    first, second = claim["conditions"]
    assert (claim["direction"], above[first], above[second]) == ("greater", False, True)


@pytest.mark.parametrize("name", ["b-pooled-all", "b-pooled-all-any"])
def test_the_largest_groups_hold_every_condition_of_the_main_shape(name, conditions, above):
    own = [
        name for name, condition in conditions.items()
        if condition.config.moe.tiers == (8, 4, 4) and CROSS not in condition.rows and name in above
    ]  # fmt: skip
    claim = CLAIMS[name]
    assert sorted(claim["conditions"]) == sorted(name for name in own if not above[name])
    assert sorted(claim["against"]) == sorted(name for name in own if above[name])


def test_the_group_of_cifar100_is_that_part_of_the_largest(conditions):
    for side in ("conditions", "against"):
        own = [name for name in CLAIMS["b-pooled-all"][side] if conditions[name].config.data.set == "cifar100"]
        assert sorted(CLAIMS["b-pooled-cifar100"][side]) == sorted(own)


@pytest.mark.parametrize("claim", GROUPS, ids=lambda claim: claim["id"])
def test_groups_have_enough_conditions_to_reach_alpha(claim, conditions):
    """One labelling of conditions within data sets is the most extreme; of two single conditions, runs decide."""
    sides = [Counter(conditions[name].config.data.set for name in claim[side]) for side in ("conditions", "against")]
    if [side.total() for side in sides] == [1, 1]:
        return
    labellings = math.prod(math.comb(sides[0][data] + sides[1][data], sides[0][data]) for data in sides[0])
    family = sum(other.get("family") == claim["family"] for other in OURS)
    assert 2 / labellings * family < ALPHA


def test_ortho_is_compared_with_its_baseline_and_doing_without_warm_up_with_warm_up(conditions):
    for claim in (claim for claim in OURS if claim["comparison"] == "at_most"):
        first, second = claim["conditions"]
        if claim["family"].startswith("ortho"):
            assert conditions[first].baseline == second
        if claim["family"].endswith("optional"):
            assert conditions[second].baseline == first


@pytest.mark.parametrize("claim", [c for c in OURS if c.get("family") in ISO], ids=lambda claim: claim["id"])
def test_iso_pairs_have_the_same_control_number(claim, control_numbers):
    first, second = (control_numbers[name] for name in claim["conditions"])
    assert first == pytest.approx(second, **CLOSE)


def test_bounds_on_deaths_stand_at_or_above_the_threshold_and_v1_counts_once(above):
    bounds = [claim for claim in OURS if claim["comparison"] == "bound" and claim["paper_value"] == 0]
    assert [claim["id"] for claim in bounds if not all(above[name] for name in claim["conditions"])] == []
    guarantee = [claim["id"] for claim in bounds if claim["metric"] == "dead_experts" and "v1" in claim["conditions"]]
    assert guarantee == ["b-v1-no-dead"]


def test_limits_are_those_of_the_analysis_and_dead_is_what_the_census_says(conditions):
    limits = {claim["metric"]: claim["threshold"] for claim in OURS if claim["comparison"] == "threshold"}
    assert limits["overfit"] == ANALYSIS.overfit_limit
    assert limits["smallest_relative_share"] == ANALYSIS.starved_share
    assert limits["tier_share_1"] == pytest.approx(ANALYSIS.starved_share * 4 / 16)
    assert {condition.config.census.dead_share for condition in conditions.values()} == {ANALYSIS.dead_share}


def test_every_tuple_of_the_iso_study_and_the_grid_is_used():
    project = load_project(ROOT, {"scale": "cifar"})
    used = {name for claim in OURS if claim.get("family") in ("iso-levels", "grid") for name in names(claim)}
    studied = {name for name in project.papers[PAPER].conditions if name.startswith(("iso-", "grid-"))}
    assert used == studied | {"v1"}


def test_the_papers_numbers_are_cells_judged_at_scale_paper_only():
    assert {cell_of(claim): claim["paper_value"] for claim in CELLS} == NUMBERS
    assert all(claim["scales"] == ["paper"] for claim in CELLS)


def test_cells_agree_with_the_values_that_figures_mark():
    cells = {cell_of(claim): claim["paper_value"] for claim in CELLS}
    marked = defaultdict(list)  # the paper gives some cells twice, as of one run and of three seeds
    for row in yaml.safe_load((ROOT / "config/paper_values.yaml").read_text())[PAPER]:
        if "condition" in row:
            marked[row["condition"], row["metric"].removesuffix("_by_epoch"), row.get("epoch")].append(row["value"])
    common = cells.keys() & marked.keys()
    assert {metric for _, metric, _ in common} >= {"perplexity", "dead_experts", "dead_experts_peak", "tier_share_2"}
    assert [key for key in common if cells[key] not in marked[key]] == []


def test_differences_of_the_paper_follow_from_its_cells():
    def gap(first, second, metric="dead_experts", epoch=40):
        return NUMBERS[first, metric, epoch] - NUMBERS[second, metric, epoch]

    expected = {
        # Twelve at epoch 10, and twelve to the end without the balance loss.
        "b-v6-balance-revives": NUMBERS["v6", "dead_experts", 80] - NUMBERS["v6", "dead_experts", 10],
        "b-v6-balance-keeps-alive": gap("v6-no-balance", "v6", epoch=80),
        "b-v7-raising-e-does-not-repair": gap("v7-e1.0", "v6"),
        "b-v8-more-experts-do-not-repair": gap("v8-32-experts", "v6"),
        "b-v7-raising-e-costs-accuracy": gap("v7-e1.0", "v6", "test_accuracy"),
        "b-v8-more-experts-cost-accuracy": gap("v8-32-experts", "v6", "test_accuracy"),
        "b-v5-warm-up-raises-peak": gap("v5-random-warmup", "v3-e0.545", "dead_experts_peak", None),
        "b-v5-warm-up-delays-recovery": gap("v5-random-warmup", "v3-e0.545", "recovery_epoch", None),
        "b-x1-cifar100-flat-is-better": gap("x1-cifar100-4444", "x1-cifar100-flat", "test_accuracy", None),
        "b-x1-hierarchy-equals-flat": 0.4729 - 0.4754,
    }
    assert {name: CLAIMS[name]["paper_value"] for name in expected} == pytest.approx(expected, **CLOSE)


def test_what_is_never_negative_is_not_compared_with_zero():
    """A final count is at most its peak and a range at least 0: only a limit above 0 can be missed."""
    metrics = {"dead_experts_revived", "overfit", "starved_tiers", "smallest_relative_share"}
    compared = [c for c in OURS if c["metric"] in metrics or c["metric"].startswith("scan_")]
    limits = {claim["id"]: claim["threshold"] for claim in compared if claim["comparison"] in ("sign", "threshold")}
    assert min(limits.values()) > 0


def test_the_fair_share_is_judged_only_where_it_is_not_the_papers_own_definition(conditions):
    """16 % of 1/16 is 1 %: with 16 experts the two counts are one."""
    for claim in (claim for claim in OURS if claim["metric"] == "dead_experts_fair_share"):
        for condition in (conditions[name].config for name in claim["conditions"]):
            share = condition.census.fair_share_fraction / condition.moe.experts
            assert share != pytest.approx(condition.census.dead_share)
