"""`moe-replication`: the steps of the DAG, each runnable by hand.

Heavy imports live in the commands, so that `--help` and the light steps start at once.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console, RenderableType

from moe_replication.config import Project, load_project
from moe_replication.config.fingerprint import is_current, training_code_version
from moe_replication.config.jobs import settings_version
from moe_replication.config.needs import parse_token_name
from moe_replication.config.overrides import inherited_overrides, parse_overrides
from moe_replication.config.probe import probe_settings, probed_runs
from moe_replication.config.project import Run, parse_run_path
from moe_replication.errors import BadInput, TrainingDiverged

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
prepare_app = typer.Typer(no_args_is_help=True, help="Prepare data: corpus, tokens, images, domains.")
app.add_typer(prepare_app, name="prepare")

Scale = Annotated[str | None, typer.Option(help="A file in config/scales/; config.yaml's scale when left out.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override of config.yaml, for example data.roots.cifar10=/data/cifar10."),
]
Form = Annotated[Literal["text", "json"], typer.Option("--format", help="For people, or for other tools.")]


@prepare_app.command("corpus")
def prepare_corpus(
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
) -> None:
    """Collect the embedded text corpus from the installed Python packages.

    Example: moe-replication prepare corpus --out data/corpora/embedded
    """
    from moe_replication.config.schema import read_yaml
    from moe_replication.data import prepare

    prepare.prepare_corpus(out, read_yaml(Path("config/corpora/embedded.yaml")), workers)


@prepare_app.command("tokens")
def prepare_tokens(
    name: Annotated[str, typer.Argument(help="SET-VOCABULARY-TOKENIZER_MEGABYTES-TRAIN_TOKENS-VALIDATION_TOKENS.")],
    overrides: Overrides = None,
    workers: Annotated[int, typer.Option(help="Processes; they make no difference to the result.")] = 1,
) -> None:
    """Train a tokenizer and write token shards into the data folder's tokens/NAME.

    An interrupted call is gone on with after the last whole shard.
    Example: moe-replication prepare tokens embedded-512-2-1500000-65536
    """
    from moe_replication.data import prepare

    project = _project(None, overrides)
    source, settings = parse_token_name(name)
    folder = Path(project.data_folder)
    corpus = folder / "corpora/embedded"
    prepare.prepare_tokens(folder / "tokens" / name, source, settings, corpus, project.roots, workers)


@prepare_app.command("images")
def prepare_images(
    name: Annotated[str, typer.Argument(help="digits-10, digits-100, digits-200, cifar10, ...")],
    overrides: Overrides = None,
) -> None:
    """Write an image set as arrays with a manifest.

    Example: moe-replication prepare images cifar10 --set data.roots.cifar10=/data/cifar10
    """
    from moe_replication.data import prepare

    project = _project(None, overrides)
    prepare.prepare_images(Path(project.data_folder, "images", name), name, project.roots)


@prepare_app.command("domains")
def prepare_domains(
    name: Annotated[str, typer.Argument(help="embedded or public.")],
    overrides: Overrides = None,
) -> None:
    """Write the probe texts, code and mathematics, into the data folder's domains/NAME.

    Example: moe-replication prepare domains public --set data.roots.gsm8k=/data/gsm8k
    """
    from moe_replication.config.schema import read_yaml
    from moe_replication.data import prepare

    project = _project(None, overrides)
    folder, rules = Path(project.data_folder), read_yaml(Path("config/corpora/domains.yaml"))
    prepare.prepare_domains(folder / "domains" / name, name, rules, folder / "corpora/embedded", project.roots)


@app.command()
def train(
    runs: Annotated[list[str], typer.Argument(help="Run directories: results/SCALE/runs/PAPER/CONDITION/seed-N.")],
    overrides: Overrides = None,
    expect: Annotated[str | None, typer.Option(help="Stop unless the resolved settings have this hash.")] = None,
) -> None:
    """Train runs in turn, resuming where a checkpoint is, and write their run directories.

    Example: moe-replication train results/demo/runs/expert-threshold/et/seed-0
    """
    project, chosen = _chosen_runs(runs, overrides)
    version = settings_version(project, chosen)
    if expect is not None and version != expect:
        raise BadInput(
            f"{chosen[0].folder}: settings have hash {version}, not {expect};"
            " config/ changed while the workflow ran, start it again"
        )
    from moe_replication.training.loop import train_in_turn

    train_in_turn(project, chosen)


@app.command()
def probe(
    runs: Annotated[list[str], typer.Argument(help="Run directories: results/SCALE/runs/PAPER/CONDITION/seed-N.")],
    overrides: Overrides = None,
) -> None:
    """Measure the routing and losses of finished runs of paper A, in and out of domain.

    Reads the snapshots of each run and writes its tables into results/SCALE/probes/PAPER/CONDITION/seed-N.
    Example: moe-replication probe results/demo/runs/expert-threshold/et/seed-0
    """
    project, chosen = _chosen_runs(runs, overrides)
    known = probed_runs(project)
    for run in chosen:
        if run not in known:
            raise BadInput(f"{run.folder}: only language models without ecology losses (paper A) are probed")
        _check_current(project, run)
    from moe_replication.evaluation.probe import probe_in_turn

    probe_in_turn(project, chosen, probe_settings(project.root, project.scale.name))


@app.command("collect-probes")
def collect_probes(scale: Scale = None, overrides: Overrides = None) -> None:
    """Stack the probes of every run of a scale into probe-TABLE.parquet and probe-metrics.parquet.

    Example: moe-replication collect-probes --scale demo
    """
    from moe_replication.config.core import core_runs, core_settings
    from moe_replication.statistics.probes import collect_probes as stack_probes

    project = _project(scale, overrides)
    runs = probed_runs(project)
    stack_probes(project.root, runs, core_runs(project, core_settings(project.root)), _results(project))
    _say(f"collected the probes of {len(runs)} runs into {_results(project)}")


@app.command()
def generate(
    run: Annotated[str, typer.Argument(help="Run directory: results/SCALE/runs/PAPER/CONDITION/seed-N.")],
    prompt: Annotated[str, typer.Option(help="Text to continue; a new document when left out.")] = "",
    step: Annotated[int | None, typer.Option(help="Snapshot after this many steps; the last when left out.")] = None,
    tokens: Annotated[int, typer.Option(help="New tokens at most.")] = 100,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token.")] = 0.8,
    top_k: Annotated[int | None, typer.Option(help="Draw among this many; all when left out.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    colour: Annotated[bool, typer.Option("--colour/--no-colour", help="Colour tokens by experts used.")] = True,
    overrides: Overrides = None,
) -> None:
    """Continue a text with a trained model; on a terminal the colour of a token tells how many experts it used.

    Example: moe-replication generate results/demo/runs/expert-threshold/et/seed-0 --prompt "Return the"
    """
    import torch

    from moe_replication.evaluation import checkpoints, generation

    name = parse_run_path(run)
    project = _project(name.scale, overrides)
    chosen = project.run(name.paper, name.condition, name.seed)
    if chosen.config.task != "language":
        raise BadInput(f"{run}: {name.condition} is a {chosen.config.task} run; only language models generate text")
    snapshot = generation.at_step(checkpoints.snapshots(project.root, chosen), step)
    model = checkpoints.load_language_model(chosen, snapshot.path, "cuda" if torch.cuda.is_available() else "cpu")
    console = Console(soft_wrap=True, highlight=False)
    shown = generation.show(
        console, model, checkpoints.tokenizer_of(project, chosen), prompt, max_new_tokens=tokens,
        temperature=temperature, top_k=top_k, seed=seed, colour=colour and console.is_terminal,
    )  # fmt: skip
    if len(shown) > chosen.config.data.sequence_length:
        _say(f"note: trained on {chosen.config.data.sequence_length} positions, the text has {len(shown)}")


@app.command()
def core(
    runs: Annotated[list[str], typer.Argument(help="Run directories: results/SCALE/runs/PAPER/CONDITION/seed-N.")],
    bundle: Annotated[
        str | None, typer.Option(help="Folder, zip or URL; data.roots.core-bundle when left out.")
    ] = None,
    max_examples: Annotated[int | None, typer.Option(min=1, help="Most examples of a task.")] = None,
    overrides: Overrides = None,
) -> None:
    """Score finished runs of paper A on the CORE benchmark; core.parquet and core.json go beside their probes.

    Without a bundle the published one is downloaded into the data folder, once.
    Example: moe-replication core results/gpu/runs/expert-threshold/et/seed-0 --bundle eval_bundle.zip
    """
    from moe_replication.config.core import CORE_ROOT, core_settings
    from moe_replication.evaluation.core_bundle import find_bundle, open_bundle

    project, chosen = _chosen_runs(runs, overrides)
    for run in chosen:
        if run not in probed_runs(project):
            raise BadInput(f"{run.folder}: only language models without ecology losses (paper A) are scored on CORE")
        _check_current(project, run)
    settings = core_settings(project.root)
    if max_examples is not None:
        settings = dataclasses.replace(settings, max_examples=max_examples)
    place = find_bundle(bundle or project.roots[CORE_ROOT], settings, project.data_folder)
    content = open_bundle(place, settings)
    from moe_replication.evaluation.core_benchmark import score_runs

    limit = f", at most {settings.max_examples} examples a task" if settings.max_examples else ""
    for run, score in score_runs(project, chosen, content, settings):
        _say(f"CORE {score:.3f} % ({len(content.tasks)} tasks{limit}): {run.folder}")


@app.command()
def collect(scale: Scale = None, overrides: Overrides = None) -> None:
    """Gather every run record of a scale into runs.parquet, curves.parquet and experts.parquet.

    Example: moe-replication collect --scale demo
    """
    from moe_replication.statistics.collect import collect as collect_records

    project = _project(scale, overrides)
    for run in project.runs:
        _check_current(project, run)
    for warning in collect_records([run.folder for run in project.runs], _results(project)):
        _say(warning)
    _say(f"collected {len(project.runs)} runs into {_results(project)}")


@app.command()
def compare(scale: Scale = None, overrides: Overrides = None) -> None:
    """Means with intervals by condition, and paired differences to the baselines.

    Example: moe-replication compare --scale demo
    """
    from moe_replication.statistics.compare import write_comparisons

    project = _project(scale, overrides)
    baselines = {
        (paper.name, name): condition.baseline
        for paper in project.papers.values()
        for name, condition in paper.conditions.items()
    }
    write_comparisons(_results(project), baselines)
    _say(f"compared {len(baselines)} conditions: {_results(project)}/summary.parquet, comparisons.parquet")


@app.command()
def claims(scale: Scale = None, overrides: Overrides = None) -> None:
    """Judge every claim of the papers and write the scorecard.

    Example: moe-replication claims --scale demo
    """
    from moe_replication.statistics.scorecard import write_scorecard

    project = _project(scale, overrides)
    card = write_scorecard(_results(project), project.claims, project.scale.name, project.scale.description)
    verdicts = [claim["verdict"] for claim in card["claims"]]
    totals = ", ".join(f"{verdicts.count(name)} {name}" for name in sorted(set(verdicts)))
    _say(f"judged {len(verdicts)} claims ({totals}): {_results(project)}/scorecard.html")


@app.command()
def figure(
    name: Annotated[str, typer.Argument(help="A figure of config/papers/*.yaml.")],
    scale: Scale = None,
    overrides: Overrides = None,
) -> None:
    """Draw one figure as PNG, PDF and the CSV behind it.

    Example: moe-replication figure a-fig06-pool-size --scale demo
    """
    from moe_replication.figures.build import draw_figure

    project = _project(scale, overrides)
    files = draw_figure(name, project.figures, project.scale.name, "results", "figures", "config/paper_values.yaml")
    _say(f"drew {', '.join(map(str, files))}")


@app.command()
def track(scale: Scale = None, overrides: Overrides = None) -> None:
    """Mirror records, summaries and figures into MLflow; twice changes nothing.

    A store that fails is a warning here: nothing in the DAG reads MLflow.
    Example: moe-replication track --scale demo --set tracking.uri=http://127.0.0.1:5000
    """
    from moe_replication.files import write_json
    from moe_replication.tracking import TrackingError
    from moe_replication.tracking.mlflow_mirror import default_uri, mirror

    project = _project(scale, overrides)
    uri = project.tracking.uri or default_uri("results", project.scale.name)
    status: dict[str, object] = {"uri": uri}
    try:
        report = mirror(
            [run.folder for run in project.runs], uri, project.scale.name, Path("figures", project.scale.name)
        )
        status |= {"created": report.created, "updated": report.updated, "unchanged": report.unchanged}
        _say(f"mirrored into {uri}: {report.created} created, {report.updated} updated, {report.unchanged} unchanged")
    except TrackingError as error:
        status["failed"] = str(error)
        _say(f"warning: MLflow mirror failed ({error}); results are complete, run `moe-replication track` again")
    write_json(_results(project) / "mirror.json", status)


@app.command()
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
    project = _project(scale, overrides)
    if diff is not None:
        from moe_replication.planning.recipes import difference_table, recipe_differences

        rows = recipe_differences(project, *diff)
        _show([dataclasses.asdict(row) for row in rows] if form == "json" else difference_table(rows, *diff))
        return
    from moe_replication.planning.plan import make_plan, plan_json
    from moe_replication.planning.text import plan_text

    found = make_plan(project)
    _show(plan_json(found) if form == "json" else plan_text(found))


def main() -> None:
    """Entry point: bad input is one line on standard error and exit code 2, a diverged run exit code 1."""
    try:
        app()
    except (BadInput, TrainingDiverged) as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"error: {error}", markup=False)
        sys.exit(2 if isinstance(error, BadInput) else 1)


def _project(scale: str | None, overrides: list[str] | None) -> Project:
    settings = parse_overrides([*inherited_overrides(), *(overrides or [])])
    return load_project(overrides=settings | ({"scale": scale} if scale else {}))


def _chosen_runs(paths: list[str], overrides: list[str] | None) -> tuple[Project, list[Run]]:
    names = [parse_run_path(path) for path in paths]
    scales = sorted({name.scale for name in names})
    if len(scales) > 1:
        raise BadInput(f"runs of the scales {', '.join(scales)}: give runs of one scale at a time")
    project = _project(names[0].scale, overrides)
    return project, [project.run(name.paper, name.condition, name.seed) for name in names]


def _check_current(project: Project, run: Run) -> None:
    """Refuse a record that is there but was made from other settings or code; a missing one is named by its reader."""
    record = run.folder / "run.json"
    if record.exists() and not is_current(record, project.condition(run).version, training_code_version()):
        raise BadInput(
            f"{record}: made from other settings or training code than today's;"
            f" train it again: rm {record}, then make replicate"
        )


def _results(project: Project) -> Path:
    return Path("results", project.scale.name)


def _show(content: RenderableType | dict | list) -> None:
    """JSON as it is; tables as wide as the terminal, at least 120 columns."""
    if isinstance(content, dict | list):
        typer.echo(json.dumps(content, indent=1, ensure_ascii=False))
        return
    console = Console(highlight=False, markup=False)
    Console(highlight=False, markup=False, width=max(console.width, 120)).print(content)


def _say(text: str) -> None:
    Console(soft_wrap=True, highlight=False).print(text, markup=False)


if __name__ == "__main__":
    main()
