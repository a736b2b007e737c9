"""Warnings of loss spikes and starved experts: when they come, and that a resumed run gives the same."""

from __future__ import annotations

import json
import random

import pytest

from moe_replication.config.safety import SafetySettings, safety_settings
from moe_replication.errors import BadInput
from moe_replication.training.watch import TrainingWatch
from scratch_project import ROOT

SETTINGS = SafetySettings(
    checkpoints_kept=2, spike_window=10, spike_deviations=8.0, spike_rise=0.3, starved_share=0.1, starved_logs=3
)


def watch() -> TrainingWatch:
    return TrainingWatch(SETTINGS, fair_share=0.25)


def falling(count: int) -> list[float]:
    generator = random.Random(0)
    return [5 - 0.02 * step + generator.gauss(0, 0.03) for step in range(count)]


def test_a_spike_is_warned_of_once_at_its_first_step():
    losses = falling(60)
    losses[40:43] = [6.5, 6.4, 6.3]
    seen = watch()
    [warning] = seen.see_losses(60, losses)
    assert warning.startswith("loss 6.5000 at step 41 is a spike: the median of the 10 steps before is 4.")
    assert seen.warnings == [warning]


def test_two_spikes_are_two_warnings():
    losses = falling(60)
    losses[20] = losses[50] = 7.0
    assert [text.split(" is a")[0] for text in watch().see_losses(60, losses)] == [
        "loss 7.0000 at step 21",
        "loss 7.0000 at step 51",
    ]


@pytest.mark.parametrize(
    "losses",
    [falling(200), [2.0] * 50 + [2.2] * 50, [9.0, 12.0, 5.0, 4.0]],
    ids=["noise", "a step below spike_rise on a flat loss", "too few steps before"],
)
def test_no_spike(losses):
    assert watch().see_losses(len(losses), losses) == []


def test_starved_experts_are_named_once_and_again_after_recovery():
    seen = watch()
    starving, fed = [[0.25, 0.02], [0.25, 0.02]], [[0.25, 0.02], [0.25, 0.2]]
    assert [seen.see_usage(step, starving) for step in (2, 4)] == [[], []]
    [warning] = seen.see_usage(6, starving)
    assert warning.startswith("starved experts (layer.expert) at step 6: 0.1, 1.1; under 10.00% of their fair share")
    assert seen.see_usage(8, starving) == []
    assert seen.see_usage(10, fed) == []
    assert [bool(seen.see_usage(step, starving)) for step in (12, 14, 16)] == [False, False, True]
    assert len(seen.warnings) == 2


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_resumed_watch_warns_of_the_same(cut):
    losses = falling(60)
    losses[30:36] = [8.0] * 6
    usage_LE = [[[0.02, 0.25]] if 5 <= step < 30 else [[0.25, 0.25]] for step in range(60)]
    whole, first, second = watch(), watch(), watch()
    for step in range(60):
        whole.see_losses(step + 1, [losses[step]])
        whole.see_usage(step + 1, usage_LE[step])
    for step in range(60):
        part = first if step < cut else second
        if step == cut:
            second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        part.see_losses(step + 1, [losses[step]])
        part.see_usage(step + 1, usage_LE[step])
    assert len(whole.warnings) == 2
    assert second.warnings == whole.warnings


def test_settings_of_the_project_keep_two_checkpoints():
    assert safety_settings(ROOT).checkpoints_kept >= 2


def test_wrong_setting_is_named(tmp_path):
    for part in ("config/safety.yaml", "workflow/schemas/safety.schema.yaml"):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        text = (ROOT / part).read_text(encoding="utf-8")
        (tmp_path / part).write_text(text.replace("checkpoints_kept: {value: 2", "checkpoints_kept: {value: 1"))
    with pytest.raises(BadInput, match=r"config/safety.yaml: checkpoints_kept = 1 breaks the rule '>= 2'"):
        safety_settings(tmp_path)
