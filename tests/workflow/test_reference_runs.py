"""The committed results of the cpu scale are what its committed runs give."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from moe_replication.files import read_json
from scratch_project import ROOT, Scratch

pytestmark = pytest.mark.slow

REFERENCE = ROOT / "reference/cpu"
# Sums differ in their last digits from one processor's vector units to another's.
DIGITS = 1e-9
# Of a claim, beside its verdict.
NUMBERS = ("effect", "ci_low", "ci_high", "p", "p_corrected")


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables, verdicts and figures made of the bundle alone."""
    root = tmp_path_factory.mktemp("reference") / "cpu"
    bundle = str(REFERENCE / "runs.tar.gz")
    Scratch(ROOT).run("moe-replication", "import", bundle, "--into", str(root))
    # The project of a bundle has no code of its own: it runs the installed one.
    Scratch(root).run("snakemake", "--workflow-profile", "workflow/profiles/default", "--cores", "2")
    return root


def equal(ours: str, theirs: str) -> bool:
    """Whether two cells are the same text, or numbers that agree in nine digits."""
    if ours == theirs:
        return True
    try:
        return math.isclose(float(ours), float(theirs), rel_tol=DIGITS, abs_tol=DIGITS)
    except ValueError:
        return False


def cells(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_numbers_behind_the_committed_figures_come_from_the_committed_runs(rebuilt):
    made = {path.name: path for path in (rebuilt / "figures/cpu").glob("*.csv")}
    kept = {path.name: path for path in (ROOT / "figures/cpu").glob("*.csv")}
    assert len(kept) > 40
    assert made.keys() == kept.keys()
    for name, path in kept.items():
        ours, theirs = cells(made[name]), cells(path)
        assert [len(row) for row in ours] == [len(row) for row in theirs], name
        wrong = [
            (mine, other)
            for row, other_row in zip(ours, theirs, strict=True)
            for mine, other in zip(row, other_row, strict=True)
            if not equal(mine, other)
        ]
        assert not wrong, (name, wrong[:5])


def test_committed_verdicts_come_from_the_committed_runs(rebuilt):
    made, kept = (
        {claim["id"]: claim for claim in read_json(root / "scorecard.json")["claims"]}
        for root in (rebuilt / "results/cpu", REFERENCE)
    )
    assert made.keys() == kept.keys()
    assert len(kept) > 200
    for name, claim in kept.items():
        assert [made[name][key] for key in ("verdict", "n")] == [claim["verdict"], claim["n"]], name
        wrong = {
            key: (made[name][key], claim[key]) for key in NUMBERS if not equal(str(made[name][key]), str(claim[key]))
        }
        assert not wrong, (name, wrong)
