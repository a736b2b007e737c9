"""Two conditions over paired seeds, by hand."""

from __future__ import annotations

import pytest

from moe_replication.cli.compare_runs import comparison_line
from moe_replication.errors import BadInput
from moe_replication.files import write_json
from moe_replication.statistics.collect import read_record, runs_table
from moe_replication.statistics.pairs import common_paper, paired_differences

LOSSES = {"et": [3.0, 3.1, 3.2], "tc": [3.1, 3.3, 3.5]}


@pytest.fixture
def runs(write_run, tmp_path):
    folders = [
        write_run(tmp_path, "expert-threshold", condition, seed, metrics={"val_loss": loss})
        for condition, losses in LOSSES.items()
        for seed, loss in enumerate(losses)
    ]
    folders += [write_run(tmp_path, "expert-ecology", "v1", 0)]
    return runs_table([read_record(folder).row for folder in folders])


def test_difference_interval_and_exact_p_of_three_pairs(runs):
    (found,) = paired_differences(runs, "expert-threshold", "et", "tc")
    assert (found.metric, found.difference.n) == ("val_loss", 3)
    assert (found.first, found.second) == (pytest.approx(3.1), pytest.approx(3.3))
    # Differences -0.1, -0.2, -0.3: mean -0.2, sd 0.1, t(0.975, 2) = 4.30265.
    assert found.difference.mean == pytest.approx(-0.2)
    assert found.difference.low == pytest.approx(-0.2 - 4.30265 * 0.1 / 3**0.5, rel=1e-5)
    assert (found.p, found.p_minimum, found.note) == (0.25, 0.25, "cannot reach alpha = 0.05 at n = 3")


def test_any_metric_can_be_asked_for_and_an_unknown_one_is_refused(runs):
    (found,) = paired_differences(runs, "expert-threshold", "et", "tc", "perplexity")
    assert found.metric == "perplexity"
    with pytest.raises(BadInput, match="metric 'loss': no such column"):
        paired_differences(runs, "expert-threshold", "et", "tc", "loss")
    with pytest.raises(BadInput, match="no seed in common that measured dead_experts"):
        paired_differences(runs, "expert-threshold", "et", "tc", "dead_experts")


def test_conditions_must_have_run_and_be_of_one_paper(runs):
    assert common_paper(runs, "et", "tc") == "expert-threshold"
    with pytest.raises(BadInput, match="condition 'ett': no run of it"):
        common_paper(runs, "ett", "tc")
    with pytest.raises(BadInput, match="different papers"):
        common_paper(runs, "et", "v1")


def test_the_link_is_that_of_the_mirror(tmp_path):
    results = tmp_path / "demo"
    pair = ("et", "tc")
    assert "moe-replication track --scale demo" in comparison_line(results, "expert-threshold", pair)
    summaries = {f"expert-threshold/{name}": {"experiment": "1", "run": f"run-{name}"} for name in pair}
    write_json(results / "mirror.json", {"address": "http://127.0.0.1:5000", "summaries": summaries})
    line = comparison_line(results, "expert-threshold", pair)
    assert line.endswith(
        "http://127.0.0.1:5000/#/compare-runs?runs=%5B%22run-et%22,%22run-tc%22%5D&experiments=%5B%221%22%5D"
    )
