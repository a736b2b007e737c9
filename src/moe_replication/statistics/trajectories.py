"""What the census of paper B did over the epochs of a run: revival, collapse, starved tiers, overfitting."""

from __future__ import annotations

import polars as pl

from moe_replication.config.analysis import AnalysisSettings
from moe_replication.statistics.collect import KEYS

COLUMNS = ("epoch", "dead_experts", "test_accuracy", "test_loss", "val_loss", "tier_share_0")


def trajectories(runs: pl.DataFrame, curves: pl.DataFrame, analysis: AnalysisSettings) -> pl.DataFrame:
    """One row per run with a census: KEYS and the metrics of dead_course, tier_course and loss_course."""
    rows = census_rows(runs, curves)
    tables = (dead_course(rows, analysis), tier_course(rows, analysis), loss_course(rows, analysis))
    found = tables[0]
    for table in tables[1:]:
        found = found.join(table, on=KEYS, how="left", maintain_order="left")
    return found


def census_rows(runs: pl.DataFrame, curves: pl.DataFrame) -> pl.DataFrame:
    """Rows of `curves` with a census, by run and rising epoch, with the run's `experts` and `tiers`.

    `loss` is the test loss of images and the validation loss of text; COLUMNS that no run recorded are null.
    """
    missing = [pl.lit(None, pl.Float64).alias(name) for name in COLUMNS if name not in curves.columns]
    rows = curves.with_columns(missing).drop_nulls("dead_experts")
    rows = rows.join(runs.select(*KEYS, "experts", "tiers"), on=KEYS, how="left", maintain_order="left")
    return rows.with_columns(loss=pl.coalesce("test_loss", "val_loss")).sort(*KEYS, "epoch")


def dead_course(rows: pl.DataFrame, analysis: AnalysisSettings) -> pl.DataFrame:
    """How many dead experts came back and when, and whether the run collapsed.

    dead_experts_revived, peak minus end, and recovery_epoch are null where no expert was ever dead. recovery_epoch is
    the first epoch from which none is dead any more; where some are to the end it is the last epoch, a lower bound, as
    leaving such a run out would favour its condition. collapse_epoch is the first with at least collapse_share of the
    experts dead, whatever came after.
    """
    dead, epoch = pl.col("dead_experts"), pl.col("epoch")
    ever = dead.max() > 0
    recovered = epoch.filter(epoch > epoch.filter(dead > 0).last()).first()
    broken = dead >= analysis.collapse_share * pl.col("experts")
    return rows.group_by(KEYS, maintain_order=True).agg(
        dead_experts_revived=pl.when(ever).then(dead.max() - dead.last()),
        recovery_epoch=pl.when(ever).then(recovered.fill_null(epoch.last())),
        collapsed=broken.last().cast(pl.Float64),
        collapse_epoch=epoch.filter(broken).first(),
    )


def with_tiers(rows: pl.DataFrame, analysis: AnalysisSettings) -> pl.DataFrame:
    """Census rows with starved_tiers and smallest_relative_share, that of the tier least used for its size.

    A tier's relative share is over its fair share, its part of the experts; below starved_share it starves.
    """
    names = _tier_names(rows)
    fair = [pl.col("tiers").list.get(tier, null_on_oob=True) / pl.col("experts") for tier in range(len(names))]
    relative = [pl.col(name) / share for name, share in zip(names, fair, strict=True)]
    starved = [(share < analysis.starved_share).cast(pl.Float64) for share in relative]
    smallest = pl.min_horizontal(relative)
    return rows.with_columns(
        starved_tiers=pl.when(smallest.is_not_null()).then(pl.sum_horizontal(starved)),
        smallest_relative_share=smallest,
    )


def tier_course(rows: pl.DataFrame, analysis: AnalysisSettings) -> pl.DataFrame:
    """starved_tiers and smallest_relative_share at the end, and each tier's tier_share_gain_* since middle_fraction.

    The gain is over the census nearest to that part of the horizon, null where this is the last one.
    """
    epoch = pl.col("epoch")
    aside = (epoch - analysis.middle_fraction * epoch.max().over(KEYS)).abs()
    start = epoch.filter(pl.col("aside") == pl.col("aside").min()).first()
    gains = {
        name.replace("share", "share_gain"): pl.when(start < epoch.last()).then(
            pl.col(name).last() - pl.col(name).filter(epoch == start).first()
        )
        for name in _tier_names(rows)
    }
    ends = [pl.col(name).last() for name in ("starved_tiers", "smallest_relative_share")]
    marked = with_tiers(rows, analysis).with_columns(aside=aside)
    return marked.group_by(KEYS, maintain_order=True).agg(*ends, **gains)


def loss_course(rows: pl.DataFrame, analysis: AnalysisSettings) -> pl.DataFrame:
    """overfit, the final loss over its lowest; dead_since_best, the experts that died since; late_accuracy_range.

    dead_since_best is null unless overfit exceeds overfit_limit: where the loss only falls nothing has happened since.
    The range is largest minus smallest test accuracy in the last late_fraction of the horizon, null for one epoch.
    """
    dead, loss = pl.col("dead_experts"), pl.col("loss")
    late = pl.col("test_accuracy").filter(is_late(analysis))
    overfit = loss.last() - loss.min()
    died = dead.last() - dead.filter(loss == loss.min()).first()
    return rows.group_by(KEYS, maintain_order=True).agg(
        overfit=overfit,
        dead_since_best=pl.when(overfit > analysis.overfit_limit).then(died),
        late_accuracy_range=pl.when(late.count() > 1).then(late.max() - late.min()),
    )


def is_late(analysis: AnalysisSettings) -> pl.Expr:
    """Whether a census of a run is in the last late_fraction of its horizon."""
    return pl.col("epoch") >= (1 - analysis.late_fraction) * pl.col("epoch").max()


def _tier_names(rows: pl.DataFrame) -> list[str]:
    count = sum(name.startswith("tier_share_") for name in rows.columns)
    return [f"tier_share_{tier}" for tier in range(count)]
