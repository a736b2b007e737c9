"""Commands on a scale's results: tables, verdicts, figures, MLflow; and the plan before there are any."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from moe_replication.cli.common import Form, Overrides, Scale, check_current, read_project, results_folder, say, show
from moe_replication.config.probe import probed_runs, scanned_runs

commands = typer.Typer()


@commands.command("collect-probes")
def collect_probes(scale: Scale = None, overrides: Overrides = None) -> None:
    """Stack the probes of every run of a scale into probe-TABLE.parquet and probe-metrics.parquet.

    Example: moe-replication collect-probes --scale demo
    """
    from moe_replication.config.core import core_runs, core_settings
    from moe_replication.statistics.probes import collect_probes as stack_probes

    project = read_project(scale, overrides)
    runs = (*probed_runs(project), *scanned_runs(project))
    stack_probes(project.root, runs, core_runs(project, core_settings(project.root)), results_folder(project))
    say(f"collected the probes of {len(runs)} runs into {results_folder(project)}")


@commands.command()
def collect(scale: Scale = None, overrides: Overrides = None) -> None:
    """Gather every run record of a scale into runs.parquet, curves.parquet and experts.parquet.

    Example: moe-replication collect --scale demo
    """
    from moe_replication.statistics.collect import collect as collect_records

    project = read_project(scale, overrides)
    for run in project.runs:
        check_current(project, run)
    for warning in collect_records([run.folder for run in project.runs], results_folder(project), project.labels):
        say(warning)
    say(f"collected {len(project.runs)} runs into {results_folder(project)}")


@commands.command()
def compare(scale: Scale = None, overrides: Overrides = None) -> None:
    """Means with intervals by condition, and paired differences to the baselines.

    Example: moe-replication compare --scale demo
    """
    from moe_replication.statistics.compare import write_comparisons

    project = read_project(scale, overrides)
    baselines = {
        (paper.name, name): condition.baseline
        for paper in project.papers.values()
        for name, condition in paper.conditions.items()
    }
    write_comparisons(results_folder(project), baselines)
    say(f"compared {len(baselines)} conditions: {results_folder(project)}/summary.parquet, comparisons.parquet")


@commands.command()
def claims(scale: Scale = None, overrides: Overrides = None) -> None:
    """Judge every claim of the papers and write the scorecard.

    Example: moe-replication claims --scale demo
    """
    from moe_replication.config.analysis import analysis_settings
    from moe_replication.statistics.scorecard import write_scorecard

    project = read_project(scale, overrides)
    named, analysis = project.scale, analysis_settings(project.root)
    card = write_scorecard(results_folder(project), project.claims, named.name, analysis, named.description)
    verdicts = [claim["verdict"] for claim in card["claims"]]
    totals = ", ".join(f"{verdicts.count(name)} {name}" for name in sorted(set(verdicts)))
    say(f"judged {len(verdicts)} claims ({totals}): {results_folder(project)}/scorecard.html")


@commands.command()
def figure(
    names: Annotated[list[str], typer.Argument(help="Figures of config/papers/*.yaml.")],
    scale: Scale = None,
    overrides: Overrides = None,
) -> None:
    """Draw figures as PNG, PDF and the CSV behind each.

    Example: moe-replication figure a-fig06-pool-size --scale demo
    """
    from moe_replication.figures.build import draw_figure

    project = read_project(scale, overrides)
    for name in names:
        files = draw_figure(name, project.figures, project.scale.name, "results", "figures", project.root)
        say(f"drew {', '.join(map(str, files))}")


@commands.command()
def track(scale: Scale = None, overrides: Overrides = None) -> None:
    """Mirror records, summaries and figures into MLflow; twice changes nothing.

    A store that fails is a warning here: nothing in the DAG reads MLflow.
    Example: moe-replication track --scale demo --set tracking.uri=http://127.0.0.1:5000
    """
    from moe_replication.files import write_json
    from moe_replication.tracking import TrackingError
    from moe_replication.tracking.mlflow_mirror import default_uri, mirror

    project = read_project(scale, overrides)
    uri = project.tracking.uri or default_uri("results", project.scale.name)
    status: dict[str, object] = {"uri": uri}
    try:
        report = mirror(
            [run.folder for run in project.runs], uri, project.scale.name, Path("figures", project.scale.name)
        )
        status |= {"created": report.created, "updated": report.updated, "unchanged": report.unchanged}
        say(f"mirrored into {uri}: {report.created} created, {report.updated} updated, {report.unchanged} unchanged")
    except TrackingError as error:
        status["failed"] = str(error)
        say(f"warning: MLflow mirror failed ({error}); results are complete, run `moe-replication track` again")
    write_json(results_folder(project) / "mirror.json", status)


@commands.command()
def plan(
    scale: Scale = None,
    form: Form = "text",
    diff: Annotated[
        tuple[str, str] | None, typer.Option(help="Two recipes of a paper: print only where their settings differ.")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Parameters, FLOPs, memory, hours, disk and money of every condition of a scale; nothing runs.

    Example: moe-replication plan --scale paper --format json; moe-replication plan --diff paper released
    """
    project = read_project(scale, overrides)
    if diff is not None:
        from moe_replication.planning.recipes import difference_table, recipe_differences

        rows = recipe_differences(project, *diff)
        show([dataclasses.asdict(row) for row in rows] if form == "json" else difference_table(rows, *diff))
        return
    from moe_replication.planning.plan import make_plan, plan_json
    from moe_replication.planning.text import plan_text

    found = make_plan(project)
    show(plan_json(found) if form == "json" else plan_text(found))
