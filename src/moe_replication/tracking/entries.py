"""What MLflow is to hold, without MLflow: one Entry per run record, condition and set of figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from matplotlib.figure import Figure

from moe_replication.config.needs import data_path
from moe_replication.config.project import Project, Run
from moe_replication.files import read_json, sha256_file, sha256_json
from moe_replication.statistics.collect import read_record

FIGURE_KINDS = ("png", "pdf", "csv")
# What conditions differ in, E = T*H/(O+B) first of all: parameters of an MLflow run and columns of runs.parquet. The
# capitals put them above all other settings, and into the plot that MLflow's compare page draws unasked.
LEADING = {
    "Rule": "rule",
    "E": "control_number",
    "T": "temperature",
    "H": "entropy_weight",
    "O": "oracle_weight",
    "B": "balance_weight",
}
CLOCKS = ("wall_seconds", "tokens_per_second")


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Data that runs were made from; `sha256` is the digest in their records."""

    name: str
    source: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One MLflow run to be: `identity` says what it mirrors, `content` whether that has changed.

    `curve` has a column `step`, the others become metrics `curve/{column}`; `drawings` are made when stored.
    """

    paper: str
    identity: str
    tags: dict[str, str]
    content: str
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    curve: pl.DataFrame | None = None
    data_sets: tuple[DataSet, ...] = ()
    files: tuple[Path, ...] = ()
    drawings: Mapping[str, Callable[[], Figure]] = field(default_factory=dict)
    finished_ms: int | None = None
    seconds: float = 0.0


def run_identity(condition: str, seed: int) -> str:
    """Which entry mirrors a run; also while it still trains."""
    return f"run/{condition}/{seed}"


def run_tags(project: Project, run: Run) -> dict[str, str]:
    """What a run is found by, known before it has run."""
    tags = condition_tags(project, run.paper, run.condition)
    name = f"{run.condition} seed {run.seed}"
    return {**tags, "kind": "run", "seed": str(run.seed), "mlflow.runName": name}


def condition_tags(project: Project, paper: str, condition: str) -> dict[str, str]:
    """What a condition is found by: its places in the paper (`table`), its name there (`row`), recipe and E."""
    row = project.papers[paper].conditions[condition]
    tags = {"paper": paper, "condition": condition, "scale": project.scale.name, "table": "; ".join(row.rows)}
    tags |= {"row": row.title}
    return tags if row.recipe is None else tags | {"recipe": row.recipe}


def run_entry(project: Project, run: Run) -> Entry:
    """A finished run: its record, settings and curve; BadInput names a faulty file."""
    folder = project.root / run.folder
    row, curve = read_record(folder).row, folder / "curve.parquet"
    record, cost = read_json(folder / "run.json"), read_json(folder / "cost.json")
    tags = run_tags(project, run) | control_tag(row)
    tags |= {name: str(record[name]) for name in ("training_code", "data_sha256")}
    tags |= {"run_key": row["run_key"], "imported": str(record["imported"]).lower()}
    tags |= {"mlflow.source.git.commit": str(row["git_commit"])}
    metrics = {**record["metrics"], **{name: cost[name] for name in CLOCKS}}
    metrics = {name: float(value) for name, value in metrics.items() if value is not None}
    params = dict(_flat(read_json(folder / "config.json")["config"])) | leading_params(row)
    data_sets = (data_set(project, run, row),)
    return Entry(
        paper=run.paper,
        identity=run_identity(run.condition, run.seed),
        tags=tags,
        params=params,
        metrics=metrics,
        curve=pl.read_parquet(curve),
        data_sets=data_sets,
        finished_ms=int((folder / "run.json").stat().st_mtime * 1000),
        seconds=float(cost["wall_seconds"] or 0.0),
        content=sha256_json([tags, params, metrics, sha256_file(curve), str(data_sets)]),
    )


def figure_entry(project: Project, paper: str) -> Entry | None:
    """Every figure of a paper that has been drawn, PNG, PDF and CSV; None when none has."""
    folder = project.root / "figures" / project.scale.name
    files = [folder / f"{name}.{kind}" for name in project.papers[paper].figures for kind in FIGURE_KINDS]
    files = [path for path in files if path.is_file()]
    if not files:
        return None
    tags = {"kind": "figures", "paper": paper, "scale": project.scale.name, "mlflow.runName": "figures"}
    content = sha256_json([tags, {path.name: sha256_file(path) for path in files}])
    return Entry(paper=paper, identity="figures", tags=tags, files=tuple(files), content=content)


def data_set(project: Project, run: Run, row: Mapping) -> DataSet:
    """What a run trained on, with the digest of its record (a row of runs.parquet)."""
    source = data_path(project.data_folder, run.config)
    return DataSet(name=str(row["dataset"]), source=str(source), sha256=str(row["data_sha256"]))


def control_tag(row: Mapping) -> dict[str, str]:
    """E = T*H/(O+B) to four digits, to search for; nothing where it does not apply."""
    value = row["control_number"]
    return {} if value is None else {"E": f"{value:.4g}"}


def leading_params(row: Mapping) -> dict[str, str]:
    """Routing rule, and E and its factors in full where they apply."""
    return {name: str(row[column]) for name, column in LEADING.items() if row[column] is not None}


def _flat(config: Mapping, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and values as text."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)
