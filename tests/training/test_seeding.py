from __future__ import annotations

import torch

from moe_replication.seeding import derive_seed, torch_generator


def test_seeds_differ_by_run_and_purpose_and_fit_torch():
    seeds = {derive_seed(seed, purpose) for seed in range(20) for purpose in ("init/a", "init/b", "oracle/0")}
    assert len(seeds) == 60
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(1, "1/x") != derive_seed(11, "/x")


def test_streams_are_fixed_and_independent_of_other_draws():
    # sha256("0/init/embedding"): stored models and records depend on it
    assert derive_seed(0, "init/embedding") == 7300598856045699588
    first = torch.rand(3, generator=torch_generator(0, "order"))
    torch.rand(7, generator=torch_generator(0, "other"))
    torch.manual_seed(123)
    assert torch.equal(first, torch.rand(3, generator=torch_generator(0, "order")))
