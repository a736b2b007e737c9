"""Damaged config/: refused with one line and exit code 2, before anything is read or written."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fuzzing import PAPERS, Ledger, command, drawn, fuzz_bytes, fuzz_tree, outcome, plain, restored, small_project
from moe_replication.config import load_project
from moe_replication.config.analysis import analysis_settings
from moe_replication.config.core import core_settings
from moe_replication.config.data_sets import used_data_sets
from moe_replication.config.overrides import parse_overrides
from moe_replication.config.probe import probe_settings
from moe_replication.config.safety import safety_settings
from moe_replication.figures.paper_values import read_paper_values
from moe_replication.scheduling.settings import scheduling_settings

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow
SMALL = {"scale": "smoke", "tracking": {"enabled": False}}
# Says that config/ was read whole: the command's own complaint comes after it.
READ = "compare one two three: give two conditions"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """config/ and the schemas."""
    return small_project(tmp_path_factory.mktemp("settings"))


def read_whole(root: Path) -> str | None:
    """What the command line says of config/, None where it finds no fault."""
    message = command(root, "compare", "one", "two", "three", "--scale", "smoke")
    return None if message is None or message.startswith(READ) else message


@pytest.mark.parametrize(
    ("name", "count", "refused"),
    [
        ("config", 50, 30),
        ("scales/smoke", 50, 25),
        ("papers/expert-threshold", 40, 5),
        ("papers/expert-ecology", 40, 5),
    ],
)
def test_a_changed_matrix_is_refused_or_harmless(project, name, count, refused):
    fuzz_tree(project / f"config/{name}.yaml", lambda: read_whole(project), count).expect(refused)


@pytest.mark.parametrize("paper", PAPERS)
def test_a_changed_claim_is_refused_or_harmless(project, paper):
    path = project / f"config/claims/{paper}.yaml"
    path.write_text(yaml.safe_dump(plain(ROOT / f"config/claims/{paper}.yaml")[:4]), encoding="utf-8")
    try:
        fuzz_tree(path, lambda: read_whole(project), 40).expect(22)
    finally:
        path.unlink()


@pytest.mark.parametrize("name", ["analysis", "core", "probe", "data_sets", "safety", "scheduling"])
def test_a_changed_settings_file_is_refused_or_harmless(project, name):
    found = load_project(project, SMALL)
    read = {
        "analysis": lambda: analysis_settings(project),
        "core": lambda: core_settings(project),
        "probe": lambda: probe_settings(project, "smoke"),
        "data_sets": lambda: used_data_sets(found),
        "safety": lambda: safety_settings(project),
        "scheduling": lambda: scheduling_settings(project),
    }[name]
    fuzz_tree(project / f"config/{name}.yaml", lambda: outcome(read, project), 30).expect(12)


def test_a_changed_planning_file_is_refused_or_harmless(project):
    read = lambda: command(project, "plan", "--scale", "smoke")  # noqa: E731
    fuzz_tree(project / "config/planning.yaml", read, 40).expect(15)


def test_changed_values_of_the_papers_are_refused_or_harmless(project):
    path = project / "config/paper_values.yaml"
    few = {paper: entries[:3] for paper, entries in plain(path).items()}
    with restored(path):
        path.write_text(yaml.safe_dump(few), encoding="utf-8")
        fuzz_tree(path, lambda: outcome(lambda: read_paper_values(path), project), 80).expect(45)
        path.write_text("expert-threshold: [7]", encoding="utf-8")
        assert "paper_values.yaml: expert-threshold: expected a list" in command(project, "compare", "--scale", "smoke")


def test_broken_text_of_a_settings_file_is_refused_or_harmless(project):
    ledger = fuzz_bytes(project / "config/scales/smoke.yaml", lambda: read_whole(project), 40)
    ledger.expect(16)


@pytest.mark.parametrize("keys", [("training", "batch_size"), ("model", "width"), ("routing", "ema_beta"),
                                  ("optimizer", "matrix_lr"), ("routing", "rule"), ("moe", "tiers")])  # fmt: skip
@pytest.mark.parametrize("value", [None, "x", {"a": 1}, float("nan"), float("inf"), -1, 10**400, [[]]])
def test_a_setting_that_cannot_be_is_named(project, keys, value):
    """By construction none of these is allowed, whatever the scale or the condition says."""
    path = project / "config/scales/smoke.yaml"
    tree = plain(path)
    tree["papers"]["expert-threshold"]["conditions_set"] = {"et": {keys[0]: {keys[1]: value}}}
    with restored(path):
        path.write_text(yaml.safe_dump(tree), encoding="utf-8")
        message = read_whole(project)
    assert message is not None
    assert ".".join(keys) in message
    assert "condition et of expert-threshold at scale smoke" in message


OVERRIDE_KEYS = ("scale", "papers", "seeds", "data.folder", "data.roots.cifar10", "tracking.uri", "conditions",
                 "recipe", "", "a..b", "data", "data.roots", "x.y.z")  # fmt: skip
OVERRIDE_VALUES = ("", "null", "{}", "[]", "[1", "!!python/object/apply:os.getcwd []", "2026-13-45", ".nan",
                   "&a [*a]", "[..]", "'../../x'", "1" * 5000, "[" * 5000, "{a: 1, a: 2}", "!!binary x", "0o9", "=",
                   "\x07")  # fmt: skip


def test_odd_overrides_are_refused_or_harmless(project):
    ledger = Ledger()

    @drawn(100)
    @given(st.sampled_from(OVERRIDE_KEYS), st.one_of(st.sampled_from(OVERRIDE_VALUES), st.text(max_size=12)))
    def check(key, value):
        item = f"{key}={value}"
        read = lambda: load_project(project, SMALL | parse_overrides([item]))  # noqa: E731
        ledger.note(item, outcome(read, project))

    check()
    ledger.expect(50)
