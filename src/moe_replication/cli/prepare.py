"""Commands that prepare data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moe_replication.cli.common import Overrides, read_project
from moe_replication.config.needs import parse_token_name

commands = typer.Typer(no_args_is_help=True, help="Prepare data: corpus, tokens, images, domains.")


@commands.command("corpus")
def prepare_corpus(
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
) -> None:
    """Collect the embedded text corpus from the installed Python packages.

    Example: moe-replication prepare corpus --out data/corpora/embedded
    """
    from moe_replication.config.corpora import corpus_settings
    from moe_replication.data import prepare

    prepare.prepare_corpus(out, corpus_settings("."), workers)


@commands.command("tokens")
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

    project = read_project(None, overrides)
    source, settings = parse_token_name(name)
    folder = Path(project.data_folder)
    corpus = folder / "corpora/embedded"
    prepare.prepare_tokens(folder / "tokens" / name, source, settings, corpus, project.roots, workers)


@commands.command("images")
def prepare_images(
    name: Annotated[str, typer.Argument(help="digits-10, digits-100, digits-200, cifar10, ...")],
    overrides: Overrides = None,
) -> None:
    """Write an image set as arrays with a manifest.

    Example: moe-replication prepare images cifar10 --set data.roots.cifar10=/data/cifar10
    """
    from moe_replication.data import prepare

    project = read_project(None, overrides)
    folder = Path(project.data_folder, "images", name)
    prepare.prepare_images(folder, name, project.roots, max_corrupt=project.max_corrupt_images)


@commands.command("domains")
def prepare_domains(
    name: Annotated[str, typer.Argument(help="embedded or public.")],
    overrides: Overrides = None,
) -> None:
    """Write the probe texts, code and mathematics, into the data folder's domains/NAME.

    Example: moe-replication prepare domains public --set data.roots.gsm8k=/data/gsm8k
    """
    from moe_replication.config.corpora import domain_rules
    from moe_replication.data import prepare

    project = read_project(None, overrides)
    folder, rules = Path(project.data_folder), domain_rules(project.root)
    prepare.prepare_domains(folder / "domains" / name, name, rules, folder / "corpora/embedded", project.roots)
