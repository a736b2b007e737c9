"""The explanation pages quote the code as it is, and their worked examples are what the package computes.

Convention: above every fence of Python stands a line that is nothing but the path of a file, `src/...py`.
"""

from __future__ import annotations

import math
import re
import textwrap
from pathlib import Path

import polars as pl
import pytest
import yaml
from scipy import stats

from moe_replication.config.analysis import analysis_settings
from moe_replication.statistics.claims import decide
from moe_replication.statistics.findings import measure
from moe_replication.statistics.hypothesis_tests import (
    holm,
    paired_t,
    permutation,
    permutation_minimum,
    sign_flip,
    sign_flip_minimum,
    welch_t,
)
from moe_replication.statistics.intervals import paired_interval, prediction_interval
from moe_replication.statistics.leakage import (
    ideal_bits_per_expert,
    least_ideal_bits_per_token,
    tokens_per_expert,
)
from moe_replication.statistics.margins import beyond_p, within_p
from moe_replication.statistics.power import detectable, needed_n, needed_n_bound, paired_power
from moe_replication.statistics.versions import SHARED
from moe_replication.statistics.wording import percent

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/explanation"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.md"))}
NAMES = ("determinism", "ecology", "routing", "statistics")
PATH_LINE = re.compile(r"`(src/[\w/]+\.py)`")
LONGEST = 12


def fences(text: str) -> list[tuple[str, str, str]]:
    """(line above, language, content) of every fence; blank lines between are passed over."""
    found, above, lines = [], "", iter(text.splitlines())
    for line in lines:
        if line.startswith("```"):
            content = []
            for inner in lines:
                if inner.startswith("```"):
                    break
                content.append(inner)
            found.append((above, line.removeprefix("```"), "\n".join(content)))
            above = ""
        elif line.strip():
            above = line
    return found


def table(page: str, heading: str) -> list[list[str]]:
    """Cells of the rows below a table's first line that starts with `heading`."""
    lines = PAGES[page].splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


EXCERPTS = [
    pytest.param(name, above, code, id=f"{name}-{number}")
    for name, text in PAGES.items()
    for number, (above, language, code) in enumerate(fences(text))
    if language == "python"
]


def test_the_pages_are_there():
    assert tuple(name for name in PAGES if name in NAMES) == NAMES
    assert len(EXCERPTS) >= 25


@pytest.mark.parametrize(("page", "above", "code"), EXCERPTS)
def test_every_excerpt_stands_in_the_file_that_it_names(page, above, code):
    named = PATH_LINE.fullmatch(above)
    assert named, f"{page}: no path above an excerpt that begins {code[:60]!r}"
    wanted = textwrap.dedent(code).splitlines()
    lines = (ROOT / named[1]).read_text(encoding="utf-8").splitlines()
    windows = (lines[start : start + len(wanted)] for start in range(len(lines) - len(wanted) + 1))
    assert any(textwrap.dedent("\n".join(window)).splitlines() == wanted for window in windows), (named[1], wanted[0])
    assert 3 <= len(wanted) <= LONGEST


@pytest.mark.parametrize("page", NAMES)
def test_fences_are_code_or_formulas_and_no_path_stands_without_one(page):
    found = fences(PAGES[page])
    assert {language for _, language, _ in found} <= {"python", "text"}
    paths = [line for line in PAGES[page].splitlines() if PATH_LINE.fullmatch(line)]
    assert paths == [above for above, language, _ in found if language == "python"]


@pytest.mark.parametrize("page", NAMES)
def test_links_and_named_files_exist(page):
    prose = re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)#]+)", prose):
        assert link.startswith("http") or (FOLDER / link).exists(), link
    for name in re.findall(r"(?:src|tests|config|docs)/[\w./-]+\.(?:py|yaml|md)", PAGES[page]):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("page", NAMES)
def test_pages_keep_their_size(page):
    lines = PAGES[page].splitlines()
    assert 100 <= len(lines) <= 220
    assert max(len(line) for line in lines if not line.startswith("|")) <= 165


@pytest.mark.parametrize("page", ["ecology", "routing"])
def test_numbers_of_runs_stand_in_the_log(page):
    text = PAGES[page].split("## What runs here show\n")[1]
    log = re.sub(r"\s+", " ", (ROOT / "docs/EXPERIMENT_LOG.md").read_text(encoding="utf-8"))
    for number in set(re.findall(r"(?<![\w.-])[-+]?\d*\.?\d+(?:-\d\d-\d\d)?(?![\w])", text)):
        assert re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", log), number


def test_every_rule_and_every_condition_that_the_routing_page_names_is_in_the_matrix():
    matrix = yaml.safe_load((ROOT / "config/papers/expert-threshold.yaml").read_text(encoding="utf-8"))
    for name in re.findall(r"`((?:dense|tc|ec|et)(?:-[\w.*-]+)?\*?)`", PAGES["routing"]):
        pattern = re.escape(name).replace(r"\*", ".*")
        assert any(re.fullmatch(pattern, condition) for condition in matrix["conditions"]), name


def test_leakage_of_the_routing_page():
    for pool, k, ideal, least, threshold in table("routing", "pool"):
        tokens = int(pool.split(" ")[0].replace(",", ""))
        assert int(k.replace(",", "")) == tokens_per_expert(tokens, 16, 1)
        assert ideal == f"{ideal_bits_per_expert(tokens, 16, 1) * 16 / tokens:.3f}"
        assert least == f"{least_ideal_bits_per_token(16, 1):.3f}" == f"{math.log2(15):.3f}"
        assert threshold == f"{32 * 16 / tokens:.6f}"


def test_softmax_twice():
    """One of 16 probabilities is 1, the others 0, and softmax takes them for logits."""
    best, other = math.e / (math.e + 15), 1 / (math.e + 15)
    assert f"{100 * best:.1f} %" in PAGES["ecology"]
    assert -best * math.log(best) - 15 * other * math.log(other) > 0.98 * math.log(16)
    assert f"{-math.log(best):.2f} nats" in PAGES["ecology"]


def test_defaults_of_the_four_weights():
    matrix = yaml.safe_load((ROOT / "config/papers/expert-ecology.yaml").read_text(encoding="utf-8"))
    defaults = matrix["defaults"]["ecology"]
    weights = [row[1].strip("`").removeprefix("ecology.") for row in table("ecology", "letter")]
    plain = [defaults[name]["value"] if isinstance(defaults[name], dict) else defaults[name] for name in weights]
    assert [float(row[3]) for row in table("ecology", "letter")] == plain
    temperature, entropy, oracle, balance = plain
    assert f"{temperature * entropy / (oracle + balance):.3f}" == "0.545"
    assert f"{temperature * entropy / (oracle + 0.85):.2f}" == "0.30"
    assert temperature * 0.275 / (oracle + balance) == pytest.approx(1.0)
    assert temperature * entropy / 0.5 - oracle == pytest.approx(0.45)
    assert temperature * entropy / oracle == pytest.approx(2.0)


def test_precision_of_every_scale():
    found = {}
    for path in (ROOT / "config/scales").glob("*.yaml"):
        scale = yaml.safe_load(path.read_text(encoding="utf-8"))
        papers = [paper["set"] for paper in scale["papers"].values() if paper["conditions"]]
        found[path.stem] = {settings.get("engine", {}).get("precision", "auto") for settings in papers}
    assert {row[0].strip("`"): {row[1]} for row in table("determinism", "scale")} == found


def test_what_runs_that_are_pooled_share():
    (code,) = [code for _, _, code in fences(PAGES["determinism"]) if code.startswith("SHARED")]
    assert re.findall(r'^    "(\w+)"', code, re.M) == list(SHARED)


def worked() -> tuple[list[float], list[float]]:
    """A and B of the example, by seed; the printed differences are theirs."""
    rows = table("statistics", "seed")
    first, second = ([float(row[column]) for row in rows] for column in (1, 2))
    assert [row[3] for row in rows] == [f"{a - b:.2f}" for a, b in zip(first, second, strict=True)]
    return first, second


def verdict(first: list[float], second: list[float], p_corrected: float) -> str:
    """Of the claim that A is below B, on runs with these losses."""
    claim = {
        "paper": "expert-threshold", "conditions": ["a", "b"], "metric": "val_loss", "comparison": "ordering",
        "direction": "less", "test": "paired_t",
    }  # fmt: skip
    runs = pl.DataFrame(
        [
            {"paper": "expert-threshold", "condition": name, "seed": seed, "val_loss": value}
            for name, values in (("a", first), ("b", second))
            for seed, value in enumerate(values)
        ]
    )
    finding = measure(claim, runs, pl.DataFrame(), analysis_settings(ROOT))
    assert finding.p == pytest.approx(paired_t([a - b for a, b in zip(first, second, strict=True)]))
    return decide(claim, finding, p_corrected)


def figures_of(n: int) -> dict[str, str]:
    """What the page says of the first n seeds."""
    first, second = (values[:n] for values in worked())
    differences = [a - b for a, b in zip(first, second, strict=True)]
    interval, prediction = paired_interval(first, second), prediction_interval(differences)
    mean, sd = interval.mean, interval.sd
    p_holm = holm([paired_t(differences), 0.2, 0.3, 0.4, 0.6])[0]
    return {
        "mean difference": f"{mean:.4f}",
        "sd of the differences": f"{sd:.4f}",
        "95 % t interval": f"{interval.low:.4f} to {interval.high:.4f}",
        "95 % prediction interval of a new pair": f"{prediction.low:.4f} to {prediction.high:.4f}",
        "t": f"{mean / (sd / math.sqrt(n)):.2f}",
        "p, paired t": f"{paired_t(differences):.3g}",
        "p, exact sign-flip": f"{sign_flip(differences):.3g}",
        "p, exact permutation without pairs": f"{permutation(first, second):.3g}",
        "p, Welch without pairs": f"{welch_t(first, second):.2g}",
        "p, paired t, Holm with 0.2, 0.3, 0.4, 0.6 in its family": f"{p_holm:.3g}",
        'verdict on "A is below B"': verdict(first, second, p_holm),
        "p, TOST at a margin of 0.08": f"{within_p(equivalence(0.08), differences, None):.3g}",
        "p, beyond a margin of 0.02, doubled": f"{beyond_p(equivalence(0.02), differences, None):.3g}",
        "power at a difference of 0.02, alpha 0.05": percent(paired_power(0.02, sd, n)),
        "power at a difference of 0.02, alpha 0.05/5": percent(paired_power(0.02, sd, n, 0.05 / 5)),
        "pairs for 80 % at 0.02, alpha 0.05": str(needed_n(0.02, sd)),
        "difference that is found with 80 %, alpha 0.05": f"{detectable(sd, n):.4f}",
    }


def equivalence(margin: float) -> dict:
    return {"comparison": "equivalence", "margin": margin}


@pytest.mark.parametrize(("n", "column"), [(3, 1), (5, 2)])
def test_the_worked_example(n, column):
    assert {row[0]: row[column] for row in table("statistics", "figure")} == figures_of(n)


def test_the_arithmetic_by_hand():
    first, second = worked()
    differences = [a - b for a, b in zip(first, second, strict=True)]
    assert max(first) - min(first) == pytest.approx(0.12)
    for n, squares, error in ((3, 0.0002, "0.0058"), (5, 0.001, "0.0071")):
        part = differences[:n]
        mean = sum(part) / n
        assert mean == pytest.approx(-0.05)
        assert sum((value - mean) ** 2 for value in part) == pytest.approx(squares)
        assert f"{math.sqrt(squares / (n - 1) / n):.4f}" == error
        assert error in PAGES["statistics"]
    assert [f"{stats.t.ppf(0.975, df):.3f}" for df in (2, 4)] == ["4.303", "2.776"]
    signs = [a * 0.05 + b * 0.04 + c * 0.06 for a in (1, -1) for b in (1, -1) for c in (1, -1)]
    assert sorted({round(abs(value), 9) for value in signs}) == [0.03, 0.05, 0.07, 0.15]
    assert sum(abs(value) >= 0.15 - 1e-12 for value in signs) == 2
    assert sign_flip(differences[:3]) == 2 / 8
    assert sign_flip(differences) == 2 / 32


def test_the_floor_of_exact_tests():
    for seeds, flip, in_family, split in table("statistics", "seeds"):
        n = int(seeds)
        assert flip == f"{sign_flip_minimum(n):.3g}"
        assert in_family == f"{min(1.0, 5 * sign_flip_minimum(n)):.3g}"
        assert split == f"{permutation_minimum(n):.3g}"
    alone, of_five = (next(n for n in range(2, 20) if family * sign_flip_minimum(n) < 0.05) for family in (1, 5))
    assert (alone, of_five) == (6, 8)


def test_numbers_of_bounds_and_of_equal_pairs():
    assert needed_n_bound(0.05) == 72
    assert "72 clean runs" in re.sub(r"\s+", " ", PAGES["ecology"])
    smallest = next(n for n in range(2, 100) if within_p(equivalence(1), [0.0] * n, (-16, 16)) < 0.05)
    assert f"it takes {smallest}" in re.sub(r"\s+", " ", PAGES["statistics"])
