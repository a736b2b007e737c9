"""`moe-replication`: the steps of the DAG, each runnable by hand.

Heavy imports live in the commands, so that `--help` and the light steps start at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from moe_replication.config import Project, load_project
from moe_replication.config.fingerprint import is_current, training_code_version
from moe_replication.config.needs import parse_token_name
from moe_replication.config.overrides import inherited_overrides, parse_overrides
from moe_replication.config.project import parse_run_path
from moe_replication.errors import BadInput, TrainingDiverged

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
prepare_app = typer.Typer(no_args_is_help=True, help="Prepare data: corpus, tokens, images.")
app.add_typer(prepare_app, name="prepare")

Scale = Annotated[str | None, typer.Option(help="A file in config/scales/; config.yaml's scale when left out.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override of config.yaml, for example data.roots.cifar10=/data/cifar10."),
]


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
) -> None:
    """Train a tokenizer and write token shards into the data folder's tokens/NAME.

    Example: moe-replication prepare tokens embedded-512-2-1500000-65536
    """
    from moe_replication.data import prepare

    project = _project(None, overrides)
    source, settings = parse_token_name(name)
    folder = Path(project.data_folder)
    prepare.prepare_tokens(folder / "tokens" / name, source, settings, folder / "corpora/embedded", project.roots)


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


@app.command()
def train(
    runs: Annotated[list[str], typer.Argument(help="Run directories: results/SCALE/runs/PAPER/CONDITION/seed-N.")],
    overrides: Overrides = None,
    expect: Annotated[str | None, typer.Option(help="Stop unless the resolved settings have this hash.")] = None,
) -> None:
    """Train runs in turn, resuming where a checkpoint is, and write their run directories.

    Example: moe-replication train results/demo/runs/expert-threshold/et/seed-0
    """
    names = [parse_run_path(path) for path in runs]
    scales = sorted({name.scale for name in names})
    if len(scales) > 1:
        raise BadInput(f"runs of the scales {', '.join(scales)}: give runs of one scale at a time")
    project = _project(names[0].scale, overrides)
    chosen = [project.run(name.paper, name.condition, name.seed) for name in names]
    for run in chosen:
        version = project.condition(run).version
        if expect is not None and version != expect:
            raise BadInput(
                f"{run.folder}: settings have hash {version}, not {expect};"
                " config/ changed while the workflow ran, start it again"
            )
    from moe_replication.training.loop import train_in_turn

    train_in_turn(project, chosen)


@app.command()
def collect(scale: Scale = None, overrides: Overrides = None) -> None:
    """Gather every run record of a scale into runs.parquet, curves.parquet and experts.parquet.

    Example: moe-replication collect --scale demo
    """
    from moe_replication.statistics.collect import collect as collect_records

    project = _project(scale, overrides)
    for run in project.runs:
        record = run.folder / "run.json"
        version = project.condition(run).version
        if record.exists() and not is_current(record, version, training_code_version()):
            raise BadInput(
                f"{record}: made from other settings or training code than today's;"
                f" train it again: rm {record}, then make replicate"
            )
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
    base = draw_figure(name, project.scale.name, "results", "figures", "config/paper_values.yaml")
    _say(f"drew {base}.png, .pdf, .csv")


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


def _results(project: Project) -> Path:
    return Path("results", project.scale.name)


def _say(text: str) -> None:
    Console(soft_wrap=True, highlight=False).print(text, markup=False)


if __name__ == "__main__":
    main()
