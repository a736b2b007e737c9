"""What the tests of this folder share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from moe_replication.config import Project, load_project
from moe_replication.config.run import RunConfig
from moe_replication.planning.plan import ConditionPlan, Plan, make_plan

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def paper_project() -> Project:
    """Both papers at the papers' own scale."""
    return load_project(ROOT, {"scale": "paper"})


@pytest.fixture(scope="session")
def paper_plan(paper_project: Project) -> Plan:
    """The plan of the papers' own scale."""
    return make_plan(paper_project)


@pytest.fixture(scope="session")
def paper_rows(paper_plan: Plan) -> dict[str, ConditionPlan]:
    """Its conditions by name."""
    return {row.condition: row for row in paper_plan.conditions}


@pytest.fixture
def sized(smoke: dict[str, RunConfig]) -> Callable[..., RunConfig]:
    """sized(condition, width=, layers=, vocabulary=, micro=, chunk=, ...): a smoke condition of another size."""

    def make(
        condition: str, *, width: int = 32, layers: int = 2, vocabulary: int = 512, micro: int = 4,
        batch: int | None = None, chunk: int = 4096, zero_stage: int = 1, world_size: int = 1,
    ) -> RunConfig:  # fmt: skip
        config = smoke[condition]
        return replace(
            config,
            data=replace(config.data, vocab_size=vocabulary),
            model=replace(config.model, width=width, layers=layers),
            training=replace(
                config.training, micro_batch_size=micro, batch_size=batch or micro * world_size, loss_chunk_tokens=chunk
            ),
            engine=replace(config.engine, zero_stage=zero_stage, world_size=world_size),
        )

    return make
