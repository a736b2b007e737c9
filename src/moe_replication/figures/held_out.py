"""Paper B: the rule E >= 0.5 against fitted rivals on configurations and data that fitted none of them."""

from __future__ import annotations

import textwrap
from pathlib import Path

import polars as pl
from matplotlib.axes import Axes

from moe_replication.config.analysis import AnalysisSettings
from moe_replication.figures import style
from moe_replication.figures.ecology_runs import ecology_runs, set_title
from moe_replication.figures.style import FigureInfo, Look
from moe_replication.figures.typeset import save_empty_table, save_table
from moe_replication.statistics.held_out import (
    CONSTANT,
    FIT_ROWS,
    FIT_SET,
    FITS,
    INTERVALS,
    LOG_E,
    RULE,
    SUFFICIENCY,
    HeldOut,
    held_out,
)
from moe_replication.statistics.prediction_scores import roc
from moe_replication.statistics.studies import FACTORS, without_cross

RUNS = ("control_number", *FACTORS, "dead_experts")
LOOKS = {
    RULE: Look(colour=style.BLACK, marker="*", line="none"),
    SUFFICIENCY: Look(colour=style.VERMILION, marker="o", line="none"),
    LOG_E: Look(colour=style.BLACK, marker="o", line="-"),
    "log T": Look(colour=style.SKY, marker="^", line="--"),
    "log H": Look(colour=style.ORANGE, marker="v", line="-."),
    "log O": Look(colour=style.GREEN, marker="s", line=":"),
    "log B": Look(colour=style.VERMILION, marker="D", line="--"),
    "all four logs": Look(colour=style.PURPLE, marker="P", line="-"),
    CONSTANT: Look(colour=style.GREY, marker="x", line=":"),
}
ONE_CUT = (RULE, SUFFICIENCY)  # the side of the threshold is all that they know of a run
DRAWN = ("runs", "conditions", "dead_share", "undefined", "auc", "brier", "brier_low", "brier_high", "note")
RATES = ("false_positive_rate", "true_positive_rate")
OUT = ("kind", "test_set", "name", "predictor", *RATES, *DRAWN)
# Column of the scores -> heading of the table; those with an interval have _low and _high beside them.
HEADER = {
    "name": "scored on",
    "predictor": "predictor",
    "runs": "runs",
    "conditions": "confi-\ngurations",
    "undefined": "without E,\nleft out",
    "dead_share": "runs with\ndead (%)",
    "auc": "AUC",
    "brier": "Brier score",
    "brier_minus_rule": "Brier minus\nthe rule's",
    "brier_minus_log_e": "Brier minus\nlog E's",
    "calibration_in_the_large": "mean predicted\nminus observed",
    "calibration_error": "calibration\nerror",
    "note": "note",
}


def scored(runs: pl.DataFrame, settings: AnalysisSettings) -> tuple[HeldOut, dict[str, str]]:
    """The comparison on paper B's runs under its own routing rule, and a name of each test set with the data used."""
    rows = without_cross(ecology_runs(runs, RUNS))
    names = {name: set_title(name, found["data_used"]) for (name,), found in rows.group_by("dataset")}
    return held_out(rows, settings), names


def figure_data(result: HeldOut) -> pl.DataFrame:
    """Rows of kind `fit` (what the rivals were fitted on), `score` (AUC and Brier score of each predictor) and `roc`
    (its points; the predictors of ONE_CUT have one)."""
    fitted = result.predictions.filter((pl.col("half") == "fit") & (pl.col("predictor") == RULE)).select(
        kind=pl.lit("fit"),
        runs=pl.len().cast(pl.Int64),
        conditions=pl.col("condition").n_unique().cast(pl.Int64),
        dead_share=pl.col("any_dead").mean(),
    )
    no_points = pl.DataFrame(schema=dict.fromkeys(RATES, pl.Float64))
    parts = [fitted.head(1), result.scores.with_columns(kind=pl.lit("score")), no_points]
    tested = result.predictions.filter(pl.col("half") == "test")
    for (name, predictor), rows in tested.group_by("dataset", "predictor", maintain_order=True):
        outcome = rows["any_dead"].to_numpy()
        if predictor != CONSTANT and 0 < outcome.sum() < len(outcome):
            points = roc(outcome, rows["predicted"].to_numpy())
            if predictor in ONE_CUT:
                called = rows["predicted"].to_numpy() > 0
                points = [[called[~outcome].mean(), called[outcome].mean()]]
            frame = pl.DataFrame(points, schema=list(RATES), orient="row")
            labels = {"kind": "roc", "test_set": name, "predictor": predictor}
            parts.append(frame.with_columns(pl.lit(value).alias(key) for key, value in labels.items()))
    return pl.concat(parts, how="diagonal")


def named(rows: pl.DataFrame, names: dict[str, str]) -> pl.DataFrame:
    """`rows` with the name of their test set."""
    half = pl.when(pl.col("test_set") == FIT_SET).then(pl.lit(", other half")).otherwise(pl.lit(""))
    return rows.with_columns(name=pl.col("test_set").replace(names) + half)


def roc_panel(ax: Axes, data: pl.DataFrame, *, beside: bool) -> None:
    """ROC curves of the fits, one point of each of ONE_CUT on one test set; AUC in the legend beside or below."""
    scores = dict(data.filter(pl.col("kind") == "score").select("predictor", "auc").iter_rows())
    points = data.filter(pl.col("kind") == "roc")
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal", xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    ax.set_xlabel("false positive rate")
    if points.is_empty():
        with_dead = data["dead_share"].max()
        ax.text(0.5, 0.5, f"{'all' if with_dead else 'no'} runs have\ndead experts:\nno ROC", ha="center", va="center")
        return
    ax.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.8, label=f"{CONSTANT}, {scores[CONSTANT]:.2f}")
    for name in (*FITS, *ONE_CUT):
        look = LOOKS[name]
        here = points.filter(pl.col("predictor") == name).select(RATES)
        line = {"color": look.colour, "linestyle": look.line, "linewidth": 2.8 if name == LOG_E else 1.1}
        if name in ONE_CUT:  # mostly the same point: a ring around the star
            line |= {"marker": look.marker, "markersize": 7 if name == RULE else 10.5, "zorder": 4}
            line |= {"markerfacecolor": look.colour if name == RULE else "none"}
        ax.plot(*here.get_columns(), **line, clip_on=name not in ONE_CUT, label=f"{name}, {scores[name]:.2f}")
    legend = {"title": "AUC", "title_fontsize": 6.5, "fontsize": 6.5, "labelspacing": 0.4}
    place = ("center left", (1.02, 0.5)) if beside else ("upper center", (0.5, -0.32))
    ax.legend(loc=place[0], bbox_to_anchor=place[1], **legend)


def brier_panel(ax: Axes, scores: pl.DataFrame) -> None:
    """Brier score of each predictor with its bootstrap interval; the dotted line is the rule's."""
    for place, name in enumerate(LOOKS):
        row = scores.row(by_predicate=pl.col("predictor") == name, named=True)
        if row["brier_low"] is not None:
            ax.plot([row["brier_low"], row["brier_high"]], [place, place], color=LOOKS[name].colour, linewidth=1.2)
        ax.plot(row["brier"], place, LOOKS[name].marker, color=LOOKS[name].colour, markersize=5)
    ax.axvline(scores.filter(pl.col("predictor") == RULE)["brier"][0], color=style.BLACK, linestyle=":", linewidth=1)
    ax.set_ylim(len(LOOKS) - 0.4, -0.6)
    ax.set_yticks(range(len(LOOKS)), list(LOOKS))
    ax.set_xlabel("Brier score (0 is perfect)")


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """b-held-out: ROC curves and Brier scores, one column per test set."""
    with style.styled():
        result, names = scored(tables["runs"], info.analysis)
        if result.scores.is_empty():
            return style.save_empty(_nothing(info.scale), OUT, out_base)
        data = named(figure_data(result), names).select(OUT)
        sets = data["test_set"].drop_nulls().unique(maintain_order=True).to_list()
        most = max(data["brier_high"].max() or 0, data["brier"].max(), 0.1)
        beside = len(sets) == 1  # two panels side by side instead of one above the other
        size = {"height": 3.2, "columns": 2} if beside else {"height": 6.4, "rows": 2, "columns": len(sets)}
        figure, axes = style.panels(width=style.DOUBLE, **size)
        for column, name in zip(axes if beside else axes.T, sets, strict=True):
            here = data.filter(pl.col("test_set") == name)
            scores = here.filter(pl.col("kind") == "score")
            first = scores.row(by_predicate=pl.col("predictor") == LOG_E, named=True)
            column[0].set_title(_title(first, 80 if beside else 27), loc="left", fontsize=7)
            roc_panel(column[0], here, beside=beside)
            brier_panel(column[1], scores)
            column[1].set_xlim(-0.04 * most, 1.05 * most)
        for ax in axes[1:, 1:].flat:
            ax.set_yticklabels([])
        axes[0, 0].set_ylabel("true positive rate")
        fitted = data.row(by_predicate=pl.col("kind") == "fit", named=True)
        plural = "s" if fitted["conditions"] > 1 else ""
        of = f"{fitted['runs']} runs of {fitted['conditions']} other configuration{plural} on {names[FIT_SET]}"
        figure.supxlabel(f"rivals fitted on {of},\n{100 * fitted['dead_share']:.0f} % with dead experts", fontsize=8)
        style.save(figure, data, out_base)


def draw_table(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """b-table-held-out: every score of every predictor and test set with its interval."""
    with style.styled():
        result, names = scored(tables["runs"], info.analysis)
        if result.scores.is_empty():
            return save_empty_table(_nothing(info.scale), list(HEADER), out_base)
        scores = named(result.scores, names)
        shown = [name for name in HEADER if name != "note" or scores["note"].is_not_null().any()]
        cells = [[_cell(row, name) for name in shown] for row in scores.iter_rows(named=True)]
        save_table([HEADER[name] for name in shown], cells, scores, out_base)


def _cell(row: dict, name: str) -> str:
    value = row[name]
    to_itself = {"brier_minus_rule": RULE, "brier_minus_log_e": LOG_E}.get(name) == row["predictor"]
    if value is None or to_itself:
        return "-"
    if name == "dead_share":
        return f"{100 * value:.0f}"
    if not isinstance(value, float):
        return str(value)
    form = "+z.3f" if "minus" in name or name == "calibration_in_the_large" else ".3f"
    if name not in INTERVALS or row[f"{name}_low"] is None:
        return f"{value:{form}}"
    return f"{value:{form}} [{row[f'{name}_low']:{form}}, {row[f'{name}_high']:{form}}]"


def _title(row: dict, width: int) -> str:
    lines = [*textwrap.wrap(row["name"], width), f"{row['runs']} runs, {row['conditions']} configurations"]
    without = [f"{row['undefined']} without E left out"] if row["undefined"] else []
    fallback = ["fits: the constant only"] if row["note"] else []
    return "\n".join([*lines, f"{100 * row['dead_share']:.0f} % with dead experts", *without, *fallback])


def _nothing(scale: str) -> str:
    return f"scale {scale} has no runs of rows {', '.join(FIT_ROWS)} on {FIT_SET} to fit on and others to score"
