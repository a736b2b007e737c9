from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from moe_replication.planning.parameters import (
    adamw_tensors,
    meta_model,
    muon_matrices,
    muon_tensors,
    parameter_counts,
)


def matrices(config) -> Counter:
    return muon_matrices(muon_tensors(meta_model(config, None), config))


@pytest.mark.parametrize(
    ("condition", "total", "active"),
    [
        ("dense", 185_597_952, 185_597_952),
        ("tc", 575_016_960, 185_733_120),
        ("ec-sequence", 575_016_960, 185_733_120),
        ("et", 575_016_960, 185_733_120),
        ("tc-aux-concat", 575_016_960, 185_733_120),
        ("d20-dense", 560_988_160, 560_988_160),
        ("d20-tc-aux", 2_429_153_280, 561_377_280),
        ("d20-et", 2_429_153_280, 561_377_280),
    ],
)
def test_counts_of_paper_a(paper_rows, condition, total, active):
    assert (paper_rows[condition].parameters_total, paper_rows[condition].parameters_active) == (total, active)


def test_dense_parameters_by_hand(paper_rows):
    """Twelve layers of 4 d^2 attention and 8 d^2 feed-forward, embedding and head of 65,536 rows."""
    assert paper_rows["dense"].parameters_total == 12 * 12 * 768**2 + 2 * 65536 * 768


def test_wide_residual_network_of_paper_b(paper_rows, paper_project, paper_plan):
    """WRN-28-10 has 36.5M parameters (Zagoruyko and Komodakis 2016), its ten-class head of 6,410 included."""
    config = paper_project.papers["expert-ecology"].conditions["v1"].config
    model = meta_model(config, paper_plan.assumptions.images["cifar10"])
    projection = sum(parameter.numel() for parameter in model.encoder.project.parameters())
    encoder = sum(parameter.numel() for parameter in model.encoder.parameters()) - projection
    assert encoder + 640 * 10 + 10 == 36_479_194
    # Sixteen heads (256 -> hidden -> 10) in tiers of 128, 256 and 512, and a router 256-128-16.
    heads = 8 * 128 * 266 + 4 * 256 * 266 + 4 * 512 * 266
    router = 256 * 128 + 128 + 128 * 16
    assert projection == 640 * 256 + 256
    assert paper_rows["v1"].parameters_total == encoder + projection + heads + router
    assert paper_rows["v1"].parameters_active == encoder + projection + router + heads * 2 // 16


def test_classes_decide_the_heads(paper_rows):
    """A class more is a row more in every expert: their hidden widths add up to 4,096."""
    assert paper_rows["v3-e0.545"].parameters_total - paper_rows["v1"].parameters_total == 90 * 4096
    assert paper_rows["v6"].parameters_total - paper_rows["v1"].parameters_total == 190 * 4096


def test_meta_model_has_no_storage(sized):
    model = meta_model(sized("et"), None)
    assert all(parameter.is_meta for parameter in model.parameters())


def test_muon_takes_every_matrix_but_embedding_and_head(sized):
    """Two layers of width 32: four square attention matrices each, a dense block, a router, 16 + 1 experts."""
    config = sized("tc")
    expected = Counter({(32, 32): 8, (128, 32): 1, (32, 128): 1, (16, 32): 1, (64, 32): 17, (32, 64): 17})
    model = meta_model(config, None)
    assert matrices(config) == expected
    assert sum(tensor.numel() for tensor in muon_tensors(model, config)) == parameter_counts(model)[0] - 2 * 512 * 32
    assert [tensor.numel() for tensor in adamw_tensors(model, config)] == [512 * 32, 512 * 32]


def test_storage_and_optimizer_of_the_confound_study_change_the_matrices(smoke):
    concatenated = matrices(smoke["tc-aux-concat"])
    assert concatenated[16 * 64, 32] == 2
    assert concatenated[64, 32] == concatenated[32, 64] == 1
    adamw = matrices(smoke["et-adamw"])
    assert adamw[64, 32] == adamw[32, 64] == 1


def test_no_muon_in_paper_b(smoke):
    assert muon_tensors(meta_model(smoke["l1"], None), smoke["l1"]) == []


def test_grouped_queries_need_fewer_parameters(smoke):
    config = smoke["dense"]
    grouped = replace(config, model=replace(config.model, heads=4, kv_heads=2))
    whole = replace(config, model=replace(config.model, heads=4, kv_heads=4))
    counts = [parameter_counts(meta_model(c, None))[0] for c in (whole, grouped)]
    assert counts[0] - counts[1] == 2 * config.model.layers * 16 * 32
