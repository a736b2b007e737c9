from __future__ import annotations

import polars as pl
import pytest

from moe_replication.planning.assumptions import Device, Energy
from moe_replication.planning.estimates import Estimates
from moe_replication.report.cost import (
    attempts,
    by_condition,
    carbon_text,
    duration,
    energy_text,
    quantity,
    run_costs,
    totals,
)


def device(name: str, unit: str, watts: float, *names: str) -> Device:
    return Device(
        name=name, unit=unit, precision="float32", peak_tflops={}, utilization=1.0, memory_gb=1.0,
        dollars_per_hour=1.0, watts=watts, origins={}, names=names,
    )  # fmt: skip


ENERGY = Energy(
    devices={
        "h100": device("h100", "GPU", 700, "NVIDIA H100 80GB HBM3"),
        "h200": device("h200", "GPU", 600, "NVIDIA H200"),
        "cpu-thread": device("cpu-thread", "CPU thread", 10),
    },
    without_gpu="cpu-thread",
    overhead=1.5,
    grams_co2_per_kwh=400,
    origins={},
)


def run(condition: str, seconds: float, *, device: str = "cpu", processes: int = 1, threads: int = 1, **more) -> dict:
    return {
        "paper": "p", "condition": condition, "title": condition.upper(), "wall_seconds": seconds, "device": device,
        "processes": processes, "threads": threads, "imported": False,
        "starts": 1, "restarts": 0, "stopped": 0, "killed": 0, "failed": 0, "diverged": 0,
        "other_settings": 0,
    } | more  # fmt: skip


def test_a_cpu_run_takes_hours_of_every_thread_of_every_process():
    # 600 s on 2 processes of 3 threads: 1 h of a thread; 10 W with half as much again for the building: 15 Wh.
    row = run_costs(pl.DataFrame([run("a", 600, processes=2, threads=3)]), ENERGY).row(0, named=True)
    assert row["unit"] == "CPU thread"
    assert row["device_hours"] == pytest.approx(1.0)
    assert row["kwh"] == pytest.approx(0.015)


def test_a_gpu_run_takes_hours_of_its_gpus_whatever_the_threads():
    # 900 s on 4 GPUs: 1 h; 700 W x 1.5 = 1.05 kWh.
    row = run_costs(pl.DataFrame([run("a", 900, device="NVIDIA H100 80GB HBM3", processes=4, threads=8)]), ENERGY)
    assert row["unit"].to_list() == ["GPU"]
    assert row["device_hours"].to_list() == pytest.approx([1.0])
    assert row["kwh"].to_list() == pytest.approx([1.05])


@pytest.mark.parametrize(
    ("recorded", "name"),
    [
        ("cpu", "cpu-thread"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA A100-SXM4-80GB", None),
        # Other limits than the SXM cards that the names stand for.
        ("NVIDIA H100 PCIe", None),
        ("NVIDIA H200 NVL", None),
        ("NVIDIA H200 MIG 1g.18gb", None),
    ],
)
def test_a_recorded_name_finds_its_device(recorded, name):
    found = ENERGY.device(recorded)
    assert (found and found.name) == name


def test_totals_sum_hours_by_unit_and_name_devices_of_unknown_watts():
    runs = [run("a", 3600), run("a", 7200), run("b", 1800, device="NVIDIA A100")]
    found = totals(run_costs(pl.DataFrame(runs), ENERGY), ENERGY)
    assert found.runs == 3
    assert found.wall_hours == pytest.approx(3.5)
    assert found.hours == pytest.approx({"CPU thread": 3.0, "GPU": 0.5})
    assert found.kwh == pytest.approx(0.045)  # 3 h x 10 W x 1.5
    assert found.kg_co2 == pytest.approx(0.018)  # 0.045 kWh x 400 g
    assert found.unknown == ("NVIDIA A100",)


def test_conditions_carry_the_plan_of_all_their_runs_on_the_same_kind_of_device():
    runs = [run("a", 60), run("a", 120), run("b", 60), run("gpu", 60, device="NVIDIA A100")]
    hours = {("p", "a"): 0.02, ("p", "gpu"): 5.0}
    planned = Estimates(device="cpu-thread", unit="CPU thread", run_hours=hours)
    rows = {row["condition"]: row for row in by_condition(run_costs(pl.DataFrame(runs), ENERGY), planned).to_dicts()}
    a = rows["a"]
    assert (a["runs"], a["least"], a["mean"], a["most"]) == (2, 60, 90, 120)
    assert a["device_hours"] == pytest.approx(0.05)
    assert a["planned_hours"] == pytest.approx(0.04)
    assert rows["b"]["planned_hours"] is None, "not in the plan"
    assert rows["gpu"]["planned_hours"] is None, "planned on a CPU"
    assert rows["gpu"]["kwh"] is None
    without = by_condition(run_costs(pl.DataFrame(runs), ENERGY), None)
    assert without["planned_hours"].null_count() == 3


def test_attempts_are_summed_by_paper():
    runs = [run("a", 1, starts=3, restarts=1, stopped=1, killed=1), run("b", 1), run("b", 1, paper="q", imported=True)]
    found = {row["paper"]: row for row in attempts(pl.DataFrame(runs)).to_dicts()}
    assert found["p"] == {
        "paper": "p", "runs": 2, "imported": 0, "starts": 4, "restarts": 1, "stopped": 1, "killed": 1, "failed": 0,
        "diverged": 0, "other_settings": 0,
    }  # fmt: skip
    assert found["q"]["imported"] == 1


def test_numbers_are_shown_with_three_digits_and_a_fitting_unit():
    assert [duration(seconds) for seconds in (0.5, 59, 90, 5400, 3_600_000)] == ["0.5 s", "59 s", "1.5 min", "1.5 h",
                                                                                "1,000 h"]  # fmt: skip
    assert [energy_text(0.0123456), energy_text(12.3456)] == ["12.3 Wh", "12.3 kWh"]
    assert [carbon_text(0.018), carbon_text(1234.5)] == ["18 g", "1,234 kg"]
    assert quantity(99.96) == "100"
