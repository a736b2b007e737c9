from __future__ import annotations

import polars as pl
import pytest

from moe_replication.evaluation import probe_metrics
from moe_replication.statistics.probe_tables import SCHEMAS, probe_table


def fanout_rows(mode, axis, layer, values, centres=(0.0, 1.0, 2.0), tokens=(1, 1, 2)):
    place = {"mode": mode, "axis": axis, "layer": layer, "low": 0.0, "high": 0.0}
    return [
        place | {"bin": n, "centre": centre, "fanout": value, "tokens": count}
        for n, (value, centre, count) in enumerate(zip(values, centres, tokens, strict=True))
    ]


def test_fanout_worked_by_hand():
    rows = fanout_rows("causal", "position", None, (4.0, 2.0, 1.0))  # mean (4 + 2 + 2 * 1) / 4 = 2
    rows += fanout_rows("causal", "position", 0, (9.0, 9.0, 9.0))
    rows += fanout_rows("causal", "loss", None, (1.0, 3.0, 5.0))  # 2 experts a nat, 1 mean fan-out a nat
    rows += fanout_rows("training", "position", None, (1.0, 1.0, 1.0))
    rows += fanout_rows("training", "loss", None, (3.0, 2.0, 1.0))
    assert probe_metrics.fanout_metrics(probe_table("fanout", rows)) == {
        "fanout_mean": 2.0, "fanout_first_position": 2.0, "fanout_loss_slope": 1.0,
        "fanout_mean_training": 1.0, "fanout_first_position_training": 1.0, "fanout_loss_slope_training": -1.0,
    }  # fmt: skip


def test_equal_losses_and_no_fanout_have_no_slope():
    rows = fanout_rows("causal", "position", None, (1.0, 1.0, 1.0))
    rows += fanout_rows("causal", "loss", None, (1.0, 3.0, 5.0), centres=(2.0, 2.0, 2.0))
    assert probe_metrics.fanout_metrics(probe_table("fanout", rows))["fanout_loss_slope"] is None
    rows = [row | {"fanout": 0.0} for row in rows]
    assert probe_metrics.fanout_metrics(probe_table("fanout", rows))["fanout_first_position"] is None


def test_zero_tokens_are_weighted_by_tokens():
    rows = [
        {"domain": domain, "layer": layer, "bin": n, "low": 0.0, "high": 0.0, "centre": 0.0, "share": s, "tokens": t}
        for domain, layer, n, s, t in [
            ("code", None, 0, 0.5, 3), ("code", None, 1, 0.1, 1), ("code", 0, 0, 0.9, 3), ("math", None, 0, 0.2, 5),
        ]
    ]  # fmt: skip
    found = probe_metrics.zero_metrics(probe_table("zero_tokens", rows))
    assert found == pytest.approx({"zero_expert_share_code": 0.4, "zero_expert_share_math": 0.2})


def test_specialization_of_every_pair_of_domains():
    ratios = {"validation": (0.5, 0.5), "code": (0.8, 0.2), "math": (0.1, 0.3)}
    rows = [
        {"domain": domain, "layer": 0, "expert": expert, "ratio": ratio, "tokens": 9}
        for domain, both in ratios.items()
        for expert, ratio in enumerate(both)
    ]
    found = probe_metrics.specialization_metrics(probe_table("specialization", rows))
    assert found == pytest.approx({
        "specialization_code_math": 0.55, "specialization_code_validation": 0.3, "specialization_math_validation": 0.25,
    })  # fmt: skip


def test_consistency_over_pairs_and_of_the_last():
    rows = [
        {"step_a": a, "step_b": b, "fraction_a": a / 4, "fraction_b": b / 4, "metric": "joint_jsd", "value": value}
        for a, b, value in [(3, 4, 0.1), (1, 3, 0.3), (1, 4, 0.5)]
    ]
    found = probe_metrics.consistency_metrics(probe_table("consistency", rows))
    assert found == pytest.approx({"consistency_joint_jsd": 0.3, "consistency_joint_jsd_last": 0.1})


def test_worst_load_is_over_domains_and_ignores_empty_ones():
    row = dict.fromkeys(SCHEMAS["shift"], None) | {"tokens": 1}
    loads = [
        ("code", "prefill", 1, 15.0), ("math", "prefill", 1, 16.0), ("code", "prefill", 256, 3.0),
        ("math", "prefill", 256, None), ("code", "decode", 256, 2.0),
    ]  # fmt: skip
    names = ("domain", "batch", "batch_tokens", "load_worst")
    rows = [row | dict(zip(names, values, strict=True)) for values in loads]
    found = probe_metrics.shift_metrics(probe_table("shift", rows))
    assert found == {
        "shift_load_worst_prefill_1": 16.0, "shift_load_worst_prefill_256": 3.0, "shift_load_worst_decode_256": 2.0,
    }  # fmt: skip


def test_dense_models_have_losses_only():
    tables = {name: pl.DataFrame(schema=schema) for name, schema in SCHEMAS.items()}
    row = {"documents": 2, "tokens": 5, "ci_low": 2.0, "ci_high": None}
    rows = [row | {"domain": name, "loss": loss} for name, loss in (("validation", 3.0), ("code", 4.0))]
    found = probe_metrics.probe_metrics(tables | {"documents": probe_table("documents", rows)})
    assert found == {
        "val_loss_documents": 3.0, "val_loss_documents_ci_low": 2.0, "val_loss_documents_ci_high": None,
        "loss_code": 4.0,
    }  # fmt: skip
