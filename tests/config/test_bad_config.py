"""Wrong settings stop before anything runs, with one line that names key, value, rule and remedy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from moe_replication.config import load_project
from moe_replication.config.overrides import parse_overrides
from moe_replication.config.project import parse_run_path
from moe_replication.errors import BadInput

ROOT = Path(__file__).parents[2]


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A project folder with copies of config/ and the schemas, free to be spoiled."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    shutil.copytree(ROOT / "workflow/schemas", tmp_path / "workflow/schemas")
    return tmp_path


def edit(path: Path, *keys: str, value: object) -> None:
    """Set a nested key of a YAML file."""
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    level = tree
    for key in keys[:-1]:
        level = level.setdefault(key, {})
    level[keys[-1]] = value
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("scale=huge", r"config/scales/huge\.yaml: no such file; choose one of cifar, cpu, demo, gpu, paper, smoke"),
        ("scales=demo", r"unknown key scales; known here: scale, papers"),
        ("papers=[expert-thresholds]", r"expert-thresholds\.yaml: no such file; choose one of expert-ecology"),
        ("conditions=[ett]", r"unknown condition in conditions: 'ett'; did you mean et\?"),
        ("conditions=[etc-*]", r"unknown condition in conditions: 'etc-\*' \(known"),
        ("seeds=[0, 0]", r"seeds = \[0, 0\] breaks the rule"),
        ("seeds=[-1]", r"seeds\.0 = -1 breaks the rule '>= 0'"),
        ("data.roots.cifar10=/nowhere", r"data\.roots\.cifar10 = '/nowhere': no such folder; give the folder"),
        (f"data.roots.cifar10={'x' * 300}", r"data\.roots\.cifar10 = 'x+': no such folder; give the folder"),
        (f"data.roots.core-bundle={'x' * 300}", r"data\.roots\.core-bundle = 'x+': no such folder or zip file"),
        ("data.roots.mnist=/tmp", r"unknown key data\.roots\.mnist; known here: cifar10"),
        ("tracking.enabled=maybe", r"tracking\.enabled = 'maybe' breaks the rule 'of type boolean'"),
        ("tracking.url=x", r"unknown key tracking\.url; known here: enabled, uri"),
    ],
)
def test_wrong_override_is_named(override, message):
    with pytest.raises(BadInput, match=message) as caught:
        load_project(ROOT, parse_overrides([override]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("routing", "ema_beta"), 1.5, r"condition et of expert-threshold .*routing\.ema_beta = 1\.5 .*'< 1'"),
        (("routing", "rule"), "expert_luck", r"routing\.rule = 'expert_luck' breaks the rule 'one of dense, "),
        (("routing", "capasity"), 0.5, r"unknown key routing\.capasity; known here: rule, top_k"),
        (("routing", "top_k"), 17, r"routing\.top_k = 17 must be at most the 16 experts of moe\.tiers"),
        (("model", "heads"), 3, r"model\.heads = 3 must divide model\.width = 32"),
        (("moe", "tier_multiples"), [1.0, 2.0], r"moe\.tier_multiples = \[1\.0, 2\.0\] must have one entry"),
        (("training", "epochs"), 3, r"give exactly one horizon"),
        (("training", "batch_size"), 10, r"training\.batch_size = 10 must be a multiple of"),
        (("engine", "zero_stage"), 3, r"engine\.zero_stage = 3: DeepSpeed does not shard .* use 1 or 2"),
        (("data", "vocab_size"), 70000, r"data\.vocab_size = 70000 breaks the rule '<= 65536'"),
        (("optimizer", "momentum"), "high", r"optimizer\.momentum = 'high' breaks the rule 'of type number'"),
    ],
)
def test_wrong_condition_setting_is_named(scratch, keys, value, message):
    edit(scratch / "config/scales/smoke.yaml", "papers", "expert-threshold", "conditions_set", "et", *keys, value=value)
    with pytest.raises(BadInput, match=message) as caught:
        load_project(scratch, {"scale": "smoke"})
    assert "condition et of expert-threshold at scale smoke" in str(caught.value)


def test_small_pool_is_named_with_the_remedy(scratch):
    condition = ("papers", "expert-threshold", "conditions_set", "ec-sequence", "data", "sequence_length")
    edit(scratch / "config/scales/smoke.yaml", *condition, value=8)
    with pytest.raises(BadInput, match=r"routing\.pool = sequence: 8 tokens leave some of 16 experts .*enlarge"):
        load_project(scratch, {"scale": "smoke"})


def test_unknown_condition_in_a_scale_is_named(scratch):
    edit(scratch / "config/scales/smoke.yaml", "papers", "expert-threshold", "conditions", value=["tc-auks"])
    with pytest.raises(BadInput, match=r"unknown condition in config/scales/smoke\.yaml .*did you mean tc-aux"):
        load_project(scratch, {"scale": "smoke"})


def test_conditions_may_have_seeds_of_their_own(scratch):
    """The last pattern that names a condition counts; seeds from the command line go before all."""
    keys = (scratch / "config/scales/cpu.yaml", "papers", "expert-threshold", "seeds_set")
    edit(*keys, value={"et-*": [5, 6], "et-fallback": [4]})
    conditions = load_project(scratch, {"scale": "cpu"}).papers["expert-threshold"].conditions
    chosen = [conditions[name].seeds for name in ("et", "et-beta-0.99", "et-fallback")]
    assert chosen == [(0, 1, 2), (5, 6), (4,)]
    assert {run.seed for run in load_project(scratch, {"scale": "cpu", "seeds": [7]}).runs} == {7}
    edit(*keys, value={"et-fallbak": [4]})
    with pytest.raises(BadInput, match=r"'et-fallbak'; did you mean et-fallback"):
        load_project(scratch, {"scale": "cpu"})


def test_unknown_baseline_is_named(scratch):
    edit(scratch / "config/papers/expert-threshold.yaml", "conditions", "et", "baseline", value="tcc")
    with pytest.raises(BadInput, match=r"unknown baseline of condition et .*did you mean tc"):
        load_project(scratch, {"scale": "smoke"})


def test_broken_yaml_is_named_with_its_line(scratch):
    path = scratch / "config/scales/smoke.yaml"
    path.write_text("scale: smoke\npapers: [", encoding="utf-8")
    with pytest.raises(BadInput, match=r"smoke\.yaml: not valid YAML at line \d"):
        load_project(scratch, {"scale": "smoke"})


@pytest.mark.parametrize("path", ["results/demo", "runs/a/b/seed-0", "results/demo/runs/a/b/seed-x", "../results/x"])
def test_foreign_run_path_is_refused(path):
    with pytest.raises(BadInput, match=r"expected results/SCALE/runs/PAPER/CONDITION/seed-N"):
        parse_run_path(path)


def test_override_without_value_is_refused():
    with pytest.raises(BadInput, match=r"expected key=value"):
        parse_overrides(["scale"])
