"""`why`: what a run costs, and the sum of costs."""

from __future__ import annotations

from moe_replication.why.costs import Cost, run_costs, total
from moe_replication.why.run_states import RunState
from why_records import finish, tc


def test_cost_is_a_run_s_own_wall_time_else_the_mean_of_the_other_seeds(project):
    finish(project, tc(project, 0), seconds=3.0)
    finish(project, tc(project, 1), seconds=5.0)
    stale = RunState(state="stale")
    costs = run_costs(project, {tc(project, seed): stale for seed in (0, 1, 2)})
    assert [costs[tc(project, seed)].seconds for seed in (0, 1, 2)] == [3.0, 5.0, 4.0]
    assert {cost.source for cost in costs.values()} == {"measured"}


def test_cost_is_unknown_where_the_planner_cannot_run(project, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    costs = run_costs(project, {tc(project): RunState(state="missing")})
    assert costs == {tc(project): Cost(seconds=None, source="unknown")}


def test_total_of_costs_is_as_sure_as_its_parts():
    measured, planned = Cost(seconds=1.5, source="measured"), Cost(seconds=2.0, source="planned")
    assert total([measured, measured]) == Cost(seconds=3.0, source="measured")
    assert total([measured, planned]) == Cost(seconds=3.5, source="planned")
    assert total([measured, Cost(seconds=None, source="unknown")]).seconds is None
