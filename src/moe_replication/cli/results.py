"""Commands on a scale's results: tables, verdicts, figures, MLflow; and the plan before there are any."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Annotated

import typer

from moe_replication.cli.common import Form, Overrides, Scale, check_current, read_project, results_folder, say, show
from moe_replication.config.probe import probed_runs, scanned_runs
from moe_replication.config.project import Project
from moe_replication.errors import BadInput

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
def compare(
    pair: Annotated[list[str] | None, typer.Argument(help="Two conditions: print their paired difference.")] = None,
    metric: Annotated[str | None, typer.Option(help="Column of runs.parquet; the scored ones when left out.")] = None,
    scale: Scale = None,
    overrides: Overrides = None,
) -> None:
    """Means with intervals by condition; differences to the baselines with tests, effect sizes and power.

    With two conditions: their paired difference in the terminal, and where MLflow compares them.
    Example: moe-replication compare --scale demo; moe-replication compare et tc-aux --scale demo
    """
    from moe_replication.config.analysis import analysis_settings
    from moe_replication.figures.paper_values import read_paper_values
    from moe_replication.statistics.compare import paper_differences, write_comparisons

    project = read_project(scale, overrides)
    if pair:
        _show_pair(project, pair, metric)
        return
    baselines = {
        (paper.name, name): condition.baseline
        for paper in project.papers.values()
        for name, condition in paper.conditions.items()
    }
    reported = paper_differences(project.claims, read_paper_values(project.root / "config/paper_values.yaml"))
    for warning in write_comparisons(
        results_folder(project), baselines, analysis_settings(project.root), reported, project.pool_mixed_versions
    ):
        say(warning)
    say(f"compared {len(baselines)} conditions: {results_folder(project)}/summary.parquet, comparisons.parquet")


def _show_pair(project: Project, pair: list[str], metric: str | None) -> None:
    if len(pair) != 2:
        raise BadInput(f"compare {' '.join(pair)}: give two conditions, or none for the tables")
    from moe_replication.cli.compare_runs import pair_table

    table, line = pair_table(results_folder(project), *pair, metric, mixed=project.pool_mixed_versions)
    show(table)
    say(line)


@commands.command()
def claims(scale: Scale = None, overrides: Overrides = None) -> None:
    """Judge every claim of the papers and write the scorecard.

    Example: moe-replication claims --scale demo
    """
    from moe_replication.config.analysis import analysis_settings
    from moe_replication.files import write_text
    from moe_replication.report.scorecard_page import scorecard_page
    from moe_replication.report.scorecard_text import scorecard_text
    from moe_replication.statistics.collect import read_runs
    from moe_replication.statistics.scorecard import write_scorecard
    from moe_replication.statistics.versions import check_pool

    project = read_project(scale, overrides)
    results, named = results_folder(project), project.scale
    for warning in check_pool(read_runs(results / "runs.parquet"), mixed=project.pool_mixed_versions):
        say(warning)
    card = write_scorecard(results, project.claims, named.name, analysis_settings(project.root), named.description)
    write_text(results / "scorecard.md", scorecard_text(card))
    write_text(results / "scorecard.html", scorecard_page(card))
    totals = ", ".join(f"{count} {verdict}" for verdict, count in card["totals"].items() if count)
    edits = f", {len(card['claims_edited'])} edited after training" if card["claims_edited"] else ""
    say(f"judged {len(card['claims'])} claims ({totals}{edits}): {results}/scorecard.html")


@commands.command()
def figure(
    names: Annotated[list[str], typer.Argument(help="Figures of config/papers/*.yaml.")],
    scale: Scale = None,
    overrides: Overrides = None,
) -> None:
    """Draw figures as PNG, PDF and the CSV behind each; refused where a figure's paper has runs of several versions.

    Example: moe-replication figure a-fig06-pool-size --scale demo
    """
    from moe_replication.figures.build import draw_figure
    from moe_replication.statistics.collect import read_runs
    from moe_replication.statistics.versions import check_pool

    project = read_project(scale, overrides)
    papers = {name: paper.name for paper in project.papers.values() for name in paper.figures}
    for paper in dict.fromkeys(papers[name] for name in names if name in papers):
        runs = read_runs(results_folder(project) / "runs.parquet").filter(paper=paper)
        for warning in check_pool(runs, mixed=project.pool_mixed_versions):
            say(warning)
    for name in names:
        files = draw_figure(name, project.figures, project.scale.name, "results", "figures", project.root)
        say(f"drew {', '.join(map(str, files))}")


@commands.command()
def track(
    scale: Scale = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Show the losses of running runs until every run has its record.")
    ] = False,
    overrides: Overrides = None,
) -> None:
    """Mirror records, summaries, verdicts and figures into MLflow; twice changes nothing.

    A store that fails is a warning here: nothing in the DAG reads MLflow.
    Example: moe-replication track --scale demo --set tracking.uri=http://127.0.0.1:5000
    """
    from moe_replication.tracking.links import default_uri
    from moe_replication.tracking.live import follow as follow_logs
    from moe_replication.tracking.status import mirror_and_report

    project = read_project(scale, overrides)
    uri = project.tracking.uri or default_uri(results_folder(project))
    if follow:
        follow_logs(project, uri, say)
    else:
        say(mirror_and_report(project, uri))


@commands.command()
def ui(
    scale: Scale = None,
    port: Annotated[int, typer.Option(help="Where the server listens.")] = 5000,
    host: Annotated[str, typer.Option(help="Address to listen on; others than this machine's own ask no password.")] = (
        "127.0.0.1"
    ),
    overrides: Overrides = None,
) -> None:
    """Serve the MLflow store of a scale on 127.0.0.1, with the losses of running runs; Ctrl-C ends it.

    Example: moe-replication ui --scale demo
    """
    from moe_replication.tracking import TrackingError
    from moe_replication.tracking.links import EXPERIMENTS, base_address, default_uri, exposure
    from moe_replication.tracking.live import follow as follow_logs
    from moe_replication.tracking.server import serve

    project = read_project(scale, overrides)
    uri = project.tracking.uri or default_uri(results_folder(project))
    if uri.startswith(("http://", "https://")):
        say(f"the runs are at {base_address(uri)}; moe-replication track --follow shows those that still train")
        return
    try:
        with serve(uri, results_folder(project), port, host) as server, contextlib.suppress(KeyboardInterrupt):
            for warning in exposure(host):
                say(warning)
            say(f"the runs of {project.scale.name} are at http://{host}:{port}{EXPERIMENTS}")
            follow_logs(project, uri, say)
            server.wait()
    except TrackingError as error:
        raise BadInput(f"tracking.uri = {error}") from error


@commands.command()
def plan(
    scale: Scale = None,
    form: Form = "text",
    diff: Annotated[
        tuple[str, str] | None, typer.Option(help="Two recipes of a paper: print only where their settings differ.")
    ] = None,
    zero_stage: Annotated[
        int | None, typer.Option(min=0, max=2, help="Count with this ZeRO stage; 0 in float32.")
    ] = None,
    micro_batch: Annotated[
        int | None, typer.Option(min=1, help="Count with this many sequences (images) a pass.")
    ] = None,
    layouts: Annotated[bool, typer.Option("--layouts", help="Memory of every model under every layout.")] = False,
    scaling: Annotated[bool, typer.Option("--scaling", help="Weak and strong scaling to 1,024 GPUs.")] = False,
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
    from moe_replication.planning import what_if
    from moe_replication.planning.assumptions import load_assumptions
    from moe_replication.planning.plan import make_plan, plan_json
    from moe_replication.planning.text import plan_text

    project = what_if.with_layout(project, zero_stage, micro_batch)
    if layouts or scaling:
        answers = what_if.layout_answers(project) if layouts else what_if.scaling_answers(project)
        print_text = what_if.layouts_text if layouts else what_if.scaling_text
        assumptions = load_assumptions(project.root, project.scale)
        show(what_if.answers_json(answers) if form == "json" else print_text(answers, assumptions))
        return
    found = make_plan(project)
    show(plan_json(found) if form == "json" else plan_text(found))
