"""config/claims/expert-ecology.yaml: all findings and numbers of the paper, at conditions that fit what it says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml

from moe_replication.config import load_project
from moe_replication.config.claims import load_claims

ROOT = Path(__file__).parents[2]
PAPER = "expert-ecology"
CLAIMS = {
    claim["id"]: claim for claim in load_claims(ROOT / "config/claims", ROOT / "workflow/schemas/claims.schema.yaml")
}
OURS = [claim for claim in CLAIMS.values() if claim["paper"] == PAPER]
CELLS = [claim for claim in OURS if claim["comparison"] == "value"]
POOLED = ("pooled", "iso-levels", "grid", "lines")
ISO = ("iso-low", "iso-at-threshold", "iso-high", "iso-accuracy")
# Some weights in config/papers are rounded to six digits.
CLOSE = {"abs": 1e-6}

# The facts file's findings, and what judges each.
FINDINGS = {
    "sufficiency": ["b-v1-no-dead", "b-v3-no-dead", "b-guarantee-hard-task", "b-l1-l2-no-dead", "b-l4-no-dead"],
    "faithful and trained arm": ["b-l3-trained-no-dead", "b-l3-has-learned", "b-l3-as-alive-as-l1"],
    "pooled": ["b-pooled-all", "b-pooled-all-any", "b-pooled-cifar100", "b-pooled-tinyimagenet", "b-pooled-wikitext2"],
    "S1 revival": ["b-v6-revives", "b-balance-on-revives", "b-v6-balance-revives", "b-v6-no-balance-stalls"],
    "S1 four harmless arms": [f"b-v6-{arm}-not-needed" for arm in ("entropy", "divergence", "annealing", "prototypes")],
    "S2 ortho": ["b-v2-every-ortho-no-dead", "b-v4-ortho-toxic", "b-l2-every-ortho-no-dead", "b-ortho-depends-on-data"],
    "S3 threshold shifts": ["b-threshold-shifts", "b-threshold-shifts-high", "b-v7-raising-e-does-not-repair"],
    "S4 overfitting": ["b-overfits-language", "b-overfits-language-healthy", "b-l4-overfits", "b-l4-healthy"],
    "S5 two tiers": ["b-tiers-collapse", "b-two-tiers-remain", "b-v6-middle-tier-starves"],
    "S6 temperature": ["b-scan-active", "b-scan-tiers", "b-scan-hard-gradient", "b-scan-accuracy"],
    "V2 third tier": ["b-x1-third-tier-returns"],
    "V2 seeds": ["b-cell-x1-seeds"],
    "V2 hierarchy": [
        "b-x1-hierarchy-equals-flat",
        "b-x1-cifar100-hierarchy-equals-flat",
        "b-x1-cifar100-flat-is-better",
    ],
    "V2 stable end": ["b-x1-late-accuracy-stable"],
    "review: iso-E": ["b-iso-no-dead", "b-iso-levels", "b-iso-levels-any", "b-iso-threshold-round"],
    "review: one factor": ["b-line-temperature", "b-line-entropy", "b-line-oracle", "b-line-balance"],
    "review: held-out": ["b-heldout-no-dead", "b-heldout-cifar100-below-threshold"],
    "review: grid": ["b-grid-balance", "b-grid-balance-any", "b-grid-entropy", "b-grid-entropy-any"],
    "review: definitions": [f"b-definition-{name}" for name in ("tenth-percent", "assigned", "silent", "fair-share")],
    "review: no balance loss": ["b-no-balance-needed", "b-no-balance-needed-elsewhere", "b-line-balance-zero"],
    "review: paper A's rules": ["b-cross-et-irrelevant", "b-cross-ec-irrelevant", "b-cross-rules-save-experts"],
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


def names(claim):
    return (*claim["conditions"], *claim.get("against", ()))


def cell_of(claim):
    return claim["conditions"][0], claim["metric"], claim.get("epoch")


@pytest.fixture(scope="module")
def control_numbers():
    """E of every condition of paper B, from its settings; None where O = B = 0."""
    found = {}
    for name, condition in load_project(ROOT, {"scale": "paper"}).papers[PAPER].conditions.items():
        ecology = condition.values["ecology"]
        weights = ecology["oracle_weight"] + ecology["balance_weight"]
        found[name] = ecology["temperature"] * ecology["entropy_weight"] / weights if weights else None
    return found


def test_how_many_entries_of_each_comparison():
    assert Counter(claim["comparison"] for claim in OURS) == {
        "bound": 22, "ordering": 20, "threshold": 7, "equivalence": 23, "groups": 16, "sign": 10, "value": 24,
    }  # fmt: skip


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


@pytest.mark.parametrize("claim", [c for c in OURS if c.get("family") in POOLED], ids=lambda claim: claim["id"])
def test_groups_lie_on_the_two_sides_of_the_threshold(claim, control_numbers):
    assert claim["comparison"] == "groups"
    assert claim["direction"] == "greater"
    assert max(control_numbers[name] for name in claim["conditions"]) < 0.5 - 1e-6
    assert min(control_numbers[name] for name in claim["against"]) >= 0.5 - 1e-6


@pytest.mark.parametrize("claim", [c for c in OURS if c.get("family") in ISO], ids=lambda claim: claim["id"])
def test_iso_pairs_have_the_same_control_number(claim, control_numbers):
    first, second = (control_numbers[name] for name in claim["conditions"])
    assert first == pytest.approx(second, **CLOSE)


def test_bounds_on_deaths_stand_at_or_above_the_threshold(control_numbers):
    bounds = [claim for claim in OURS if claim["comparison"] == "bound" and claim["paper_value"] == 0]
    assert len(bounds) == 20
    assert min(control_numbers[name] for claim in bounds for name in claim["conditions"]) >= 0.5 - 1e-6


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
    marked = {
        (row["condition"], row["metric"].removesuffix("_by_epoch"), row.get("epoch")): row["value"]
        for row in yaml.safe_load((ROOT / "config/paper_values.yaml").read_text())[PAPER]
        if "condition" in row
    }
    common = cells.keys() & marked.keys()
    assert len(common) >= 10
    assert {key: cells[key] for key in common} == {key: marked[key] for key in common}


def test_differences_of_the_paper_follow_from_its_cells():
    def gap(first, second, metric="dead_experts", epoch=40):
        return NUMBERS[first, metric, epoch] - NUMBERS[second, metric, epoch]

    expected = {
        "b-v6-balance-revives": gap("v6-no-balance", "v6", epoch=80),
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
    metrics = {"dead_experts_revived", "overfit", "starved_tiers"}
    compared = [c for c in OURS if c["metric"] in metrics or c["metric"].startswith("scan_")]
    limits = [claim["threshold"] for claim in compared if claim["comparison"] in ("sign", "threshold")]
    assert len(limits) == 12
    assert min(limits) > 0
