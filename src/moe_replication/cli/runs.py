"""Commands on runs: train, probe, scan, score, generate."""

from __future__ import annotations

import dataclasses
import sys
from typing import Annotated

import typer
from rich.console import Console

from moe_replication.cli.common import Overrides, RunFolders, check_current, chosen_runs, read_project, say
from moe_replication.config.jobs import settings_version
from moe_replication.config.probe import probe_settings, probed_runs
from moe_replication.config.project import parse_run_path
from moe_replication.errors import BadInput

commands = typer.Typer()


@commands.command()
def train(
    runs: RunFolders,
    overrides: Overrides = None,
    expect: Annotated[str | None, typer.Option(help="Stop unless the resolved settings have this hash.")] = None,
) -> None:
    """Train runs in turn, resuming where a checkpoint is, and write their run directories.

    Starts the processes of engine.world_size itself, or takes its place among those of torchrun and srun.
    Example: moe-replication train results/demo/runs/expert-threshold/et/seed-0
    """
    project, chosen = chosen_runs(runs, overrides)
    version = settings_version(project, chosen)
    if expect is not None and version != expect:
        raise BadInput(
            f"{chosen[0].folder}: settings have hash {version}, not {expect};"
            " config/ changed while the workflow ran, start it again"
        )
    sizes = sorted({run.config.engine.world_size for run in chosen})
    if len(sizes) > 1:
        raise BadInput(f"runs with engine.world_size {sizes}: train runs of one number of processes at a time")
    from moe_replication.training.launch import start_ranks

    settings = [f"--set={setting}" for setting in overrides or []]
    command = [sys.executable, "-m", "moe_replication.cli", "train", *runs, *settings, "--expect", version]
    code = start_ranks(sizes[0], command)
    if code is not None:
        raise typer.Exit(code)
    from moe_replication.training.run import train_in_turn

    train_in_turn(project, chosen)


@commands.command()
def probe(
    runs: RunFolders,
    overrides: Overrides = None,
) -> None:
    """Measure the routing and losses of finished runs of paper A, in and out of domain.

    Reads the snapshots of each run and writes its tables into results/SCALE/probes/PAPER/CONDITION/seed-N.
    Example: moe-replication probe results/demo/runs/expert-threshold/et/seed-0
    """
    project, chosen = chosen_runs(runs, overrides)
    known = probed_runs(project)
    for run in chosen:
        if run not in known:
            raise BadInput(f"{run.folder}: only language models without ecology losses (paper A) are probed")
        check_current(project, run)
    from moe_replication.evaluation.probe import probe_in_turn

    probe_in_turn(project, chosen, probe_settings(project.root, project.scale.name))


@commands.command()
def scan(
    runs: RunFolders,
    overrides: Overrides = None,
) -> None:
    """Census finished vision runs of paper B at every evaluation temperature of config/probe.yaml.

    Reads the last snapshot of each run and writes its table into results/SCALE/probes/PAPER/CONDITION/seed-N.
    Example: moe-replication scan results/demo/runs/expert-ecology/v1/seed-0
    """
    project, chosen = chosen_runs(runs, overrides)
    for run in chosen:
        if run.config.task != "vision":
            raise BadInput(f"{run.folder}: only vision models are scanned over the evaluation temperature")
        check_current(project, run)
    from moe_replication.evaluation.temperature_scan import scan_in_turn

    scan_in_turn(project, chosen, probe_settings(project.root, project.scale.name))


@commands.command()
def core(
    runs: RunFolders,
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

    project, chosen = chosen_runs(runs, overrides)
    for run in chosen:
        if run not in probed_runs(project):
            raise BadInput(f"{run.folder}: only language models without ecology losses (paper A) are scored on CORE")
        check_current(project, run)
    settings = core_settings(project.root)
    if max_examples is not None:
        settings = dataclasses.replace(settings, max_examples=max_examples)
    place = find_bundle(bundle or project.roots[CORE_ROOT], settings, project.data_folder)
    content = open_bundle(place, settings)
    from moe_replication.evaluation.core_benchmark import score_runs

    limit = f", at most {settings.max_examples} examples a task" if settings.max_examples else ""
    for run, score in score_runs(project, chosen, content, settings):
        say(f"CORE {score:.3f} % ({len(content.tasks)} tasks{limit}): {run.folder}")


@commands.command()
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
    project = read_project(name.scale, overrides)
    chosen = project.run(name.paper, name.condition, name.seed)
    if chosen.config.task != "language":
        raise BadInput(f"{run}: {name.condition} is a {chosen.config.task} run; only language models generate text")
    check_current(project, chosen)
    snapshot = generation.at_step(checkpoints.snapshots(project.root, chosen), step)
    model = checkpoints.load_language_model(chosen, snapshot.path, "cuda" if torch.cuda.is_available() else "cpu")
    console = Console(soft_wrap=True, highlight=False)
    shown = generation.show(
        console, model, checkpoints.tokenizer_of(project, chosen), prompt, max_new_tokens=tokens,
        temperature=temperature, top_k=top_k, seed=seed, colour=colour and console.is_terminal,
    )  # fmt: skip
    if len(shown) > chosen.config.data.sequence_length:
        say(f"note: trained on {chosen.config.data.sequence_length} positions, the text has {len(shown)}")
