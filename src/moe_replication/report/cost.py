"""What finished runs took: device-hours, energy and attempts, from runs.parquet."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from moe_replication.planning.assumptions import Energy
from moe_replication.planning.estimates import Estimates

# Columns of runs.parquet that count attempts at a run, and what they say.
ATTEMPTS = {
    "starts": "starts",
    "restarts": "resumed",
    "stopped": "stopped",
    "killed": "killed",
    "failed": "failed",
    "diverged": "diverged",
    "other_settings": "starts under other settings",
}
NOT_COUNTED = (
    "time lost in attempts that were killed after a checkpoint, preparation of data, probes, CORE, statistics and"
    " figures"
)


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Sums over runs; `kwh` and `kg_co2` count the runs on devices of known watts, `unknown` names the others."""

    runs: int
    wall_hours: float
    hours: dict[str, float]
    kwh: float
    kg_co2: float
    unknown: tuple[str, ...]


def run_costs(runs: pl.DataFrame, energy: Energy) -> pl.DataFrame:
    """The rows of runs.parquet with unit, device_hours and kwh (null where the device's watts are not known).

    An hour of a GPU run is an hour of each of its processes, of a CPU run one of each thread of each process.
    """
    on_cpu = pl.col("device") == "cpu"
    units = pl.col("processes") * pl.when(on_cpu).then(pl.col("threads")).otherwise(1)
    names = runs["device"].unique().to_list()
    known = {name: device for name in names if (device := energy.device(name)) is not None}
    each = {name: energy.kilowatt_hours(device, 1) for name, device in known.items()}
    return runs.with_columns(
        unit=pl.when(on_cpu).then(pl.lit("CPU thread")).otherwise(pl.lit("GPU")),
        device_hours=pl.col("wall_seconds") * units / 3600,
    ).with_columns(
        kwh=pl.col("device_hours") * pl.col("device").replace_strict(each, default=None, return_dtype=pl.Float64)
    )


def totals(costs: pl.DataFrame, energy: Energy) -> Totals:
    """The sums of a table of `run_costs`."""
    kwh = costs["kwh"].sum()
    hours = costs.group_by("unit").agg(pl.col("device_hours").sum()).sort("unit")
    return Totals(
        runs=costs.height,
        wall_hours=costs["wall_seconds"].sum() / 3600,
        hours=dict(hours.iter_rows()),
        kwh=kwh,
        kg_co2=kwh * energy.grams_co2_per_kwh / 1000,
        unknown=tuple(costs.filter(pl.col("kwh").is_null())["device"].unique().sort()),
    )


def by_condition(costs: pl.DataFrame, planned: Estimates | None) -> pl.DataFrame:
    """One row a condition: runs, seconds on the clock of a run (least, mean, most), hours, kwh, and `planned_hours` of
    all its runs: null without an estimate, or where one was counted on another kind of device than the runs had.
    """
    table = costs.group_by("paper", "condition", "unit", maintain_order=True).agg(
        pl.col("title").first(),
        pl.len().alias("runs"),
        pl.col("wall_seconds").min().alias("least"),
        pl.col("wall_seconds").mean().alias("mean"),
        pl.col("wall_seconds").max().alias("most"),
        pl.col("device_hours").sum(),
        # A sum over runs of which one is unknown is unknown.
        pl.when(pl.col("kwh").is_not_null().all()).then(pl.col("kwh").sum()).alias("kwh"),
    )
    estimates = [
        None if planned is None or planned.unit != unit else planned.run_hours.get((paper, condition))
        for paper, condition, unit in table.select("paper", "condition", "unit").iter_rows()
    ]
    return table.with_columns(planned_hours=pl.Series(estimates, dtype=pl.Float64) * pl.col("runs"))


def attempts(runs: pl.DataFrame) -> pl.DataFrame:
    """By paper: runs, how many were trained elsewhere, and the sums of `ATTEMPTS`."""
    return runs.group_by("paper", maintain_order=True).agg(
        pl.len().alias("runs"), pl.col("imported").sum(), *(pl.col(name).sum() for name in ATTEMPTS)
    )


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, three digits."""
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{quantity(seconds / unit)} {name}"
    return f"{quantity(seconds)} s"


def energy_text(kwh: float) -> str:
    """Watt-hours below a kilowatt-hour, else kilowatt-hours."""
    return f"{quantity(kwh)} kWh" if kwh >= 1 else f"{quantity(1000 * kwh)} Wh"


def carbon_text(kilograms: float) -> str:
    """Grams below a kilogram, else kilograms."""
    return f"{quantity(kilograms)} kg" if kilograms >= 1 else f"{quantity(1000 * kilograms)} g"


def quantity(value: float) -> str:
    """Three significant digits, thousands separated."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
