"""The data steps as the command line calls them; each prints lines with counts and seconds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import TypeVar

import tokenizers
from rich.console import Console

from moe_replication.config.fingerprint import code_version
from moe_replication.data.code import TOKEN_CODE
from moe_replication.data.corpus import EMBEDDED_SETS, CorpusSettings, build_corpus, embedded_source
from moe_replication.data.domains import (
    DOMAIN_SETS,
    DOMAINS,
    DomainRule,
    embedded_domains,
    public_domains,
    write_domains,
)
from moe_replication.data.hub_images import HUB_SETS, make_hub_set
from moe_replication.data.hub_text import HUB_TEXTS, hub_source
from moe_replication.data.image_decoding import first_names
from moe_replication.data.images import make_digit_pairs, make_digits
from moe_replication.data.shard_writer import OtherDocuments, write_manifest, write_split
from moe_replication.data.sources import TextSource
from moe_replication.data.token_progress import TokenProgress, read_progress
from moe_replication.data.tokenizer import load_tokenizer, train_tokenizer
from moe_replication.errors import BadInput

TEXT_SETS = (*EMBEDDED_SETS, *HUB_TEXTS)
IMAGE_SETS = ("digits-10", "digits-100", "digits-200", *HUB_SETS)
Settings = TypeVar("Settings")


@dataclass(frozen=True, kw_only=True)
class TokenSettings:
    """Tokenizer and shards: megabytes are 10^6 bytes of training text; a limit of None takes everything."""

    vocab_size: int
    tokenizer_megabytes: float
    train_tokens: int | None
    validation_tokens: int | None
    shard_tokens: int = 100_000_000

    def __post_init__(self) -> None:
        for key in ("train_tokens", "validation_tokens", "shard_tokens"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise BadInput(f"data.{key}: {value} must be at least 1")


def prepare_corpus(out_dir: Path | str, settings: Mapping, workers: int = 1) -> dict:
    """Build the embedded corpus from the mapping in config/corpora/embedded.yaml; returns its manifest."""
    started = time.perf_counter()
    manifest = build_corpus(out_dir, _build(CorpusSettings, settings, "corpus"), workers)
    splits = ", ".join(f"{name} {part['documents']:,}" for name, part in manifest["by_split"].items())
    _say(
        f"corpus: {manifest['documents']:,} documents ({splits}), "
        f"{manifest['characters'] / 1e6:.1f} M characters from {manifest['files_read']:,} files",
        started,
    )
    return manifest


def prepare_tokens(
    out_dir: Path | str,
    source: str,
    settings: Mapping,
    corpus_dir: Path | str,
    roots: Mapping[str, str | Path | None],
    workers: int = 1,
) -> dict:
    """Train a tokenizer on the train split of one of TEXT_SETS and write token shards, in `workers` processes.

    Embedded sets are read from `corpus_dir`, the others from roots[source] or, when that is None, the hub. An
    interrupted call is gone on with. Returns the manifest, the same for any number of workers and interruptions.
    """
    if workers < 1:
        raise BadInput(f"workers: {workers} must be at least 1")
    chosen = _build(TokenSettings, settings, "data")
    out_dir = Path(out_dir)
    for stale in (out_dir / "manifest.json", *out_dir.glob(".*.partial")):
        stale.unlink(missing_ok=True)
    text = _text_source(source, corpus_dir, roots)
    code = {"modules": code_version(*TOKEN_CODE), "tokenizers": tokenizers.__version__}
    made_from = {"settings": asdict(chosen), "source": text.facts, "code": code}
    progress, line = read_progress(out_dir, made_from)
    if line:
        _say(f"tokens: {line}")
    try:
        return _make_tokens(progress, text, chosen, workers)
    except OtherDocuments:
        progress.remove()
        _say(f"tokens: {source} gives other documents than before the interruption: starting over")
        return prepare_tokens(out_dir, source, settings, corpus_dir, roots, workers)


def _make_tokens(progress: TokenProgress, text: TextSource, chosen: TokenSettings, workers: int) -> dict:
    """Everything that `progress` lacks, and the manifest."""
    folder = progress.folder
    path = folder / "tokenizer.json"
    if progress.tokenizer is None:
        started = time.perf_counter()
        progress.tokenizer = train_tokenizer(
            path, text.batches("train"), vocab_size=chosen.vocab_size, sample_megabytes=chosen.tokenizer_megabytes
        )
        progress.save()
        megabytes = progress.tokenizer["sample_bytes"] / 1e6
        _say(f"tokenizer: {chosen.vocab_size:,} entries from {megabytes:.1f} MB", started)
    started = time.perf_counter()
    tokenizer = load_tokenizer(path)
    for split, limit in (("train", chosen.train_tokens), ("validation", chosen.validation_tokens)):
        if split not in progress.splits:
            progress.splits[split] = write_split(
                folder,
                split,
                text.batches(split),
                tokenizer,
                max_tokens=limit,
                shard_tokens=chosen.shard_tokens,
                workers=workers,
                whole=progress.whole.setdefault(split, []),
                save=progress.save,
            )
            progress.save()
    manifest = write_manifest(
        folder,
        progress.splits,
        vocab_size=chosen.vocab_size,
        tokenizer=progress.tokenizer,
        source=text.facts,
        settings=asdict(chosen),
    )
    progress.remove()
    counts = ", ".join(f"{name} {part['tokens']:,}" for name, part in progress.splits.items())
    _say(f"tokens: {counts}; {progress.splits['train']['bytes_per_token']:.2f} bytes per token", started)
    return manifest


def prepare_images(
    out_dir: Path | str,
    name: str,
    roots: Mapping[str, str | Path | None],
    *,
    train_pairs: int = 4000,
    test_pairs: int = 1000,
    max_corrupt: int = 0,
) -> dict:
    """Make a set of IMAGE_SETS; returns its manifest.

    The pair counts apply to digits-100 and digits-200. Public sets may lack up to `max_corrupt` images of each
    split that cannot be decoded.
    """
    started = time.perf_counter()
    if name == "digits-10":
        manifest = make_digits(out_dir)
    elif name in ("digits-100", "digits-200"):
        manifest = make_digit_pairs(
            out_dir, rotations=name == "digits-200", train_count=train_pairs, test_count=test_pairs
        )
    elif name in HUB_SETS:
        manifest = make_hub_set(out_dir, name, roots, max_corrupt=max_corrupt)
        _say_dropped(name, manifest["dropped"])
    else:
        raise BadInput(f"data.set: {name!r} is no image set; choose one of {', '.join(IMAGE_SETS)}")
    counts = manifest["counts"]
    _say(
        f"images: {name}, {counts['train']:,} train, {counts['test']:,} test, {manifest['classes']} classes",
        started,
    )
    return manifest


def prepare_domains(
    out_dir: Path | str,
    name: str,
    rules: Mapping,
    corpus_dir: Path | str,
    roots: Mapping[str, str | Path | None],
) -> dict:
    """Make a set of DOMAIN_SETS: `embedded` by the rules in config/corpora/domains.yaml. Returns its manifest."""
    started = time.perf_counter()
    if name == "embedded":
        if sorted(rules) != sorted(DOMAINS):
            raise BadInput(f"domains: {', '.join(rules)}; rules are needed for {' and '.join(DOMAINS)}, no others")
        chosen = {domain: _build(DomainRule, rule, f"domains.{domain}") for domain, rule in rules.items()}
        documents, facts = embedded_domains(corpus_dir, chosen)
    elif name == "public":
        documents, facts = public_domains(roots)
    else:
        raise BadInput(f"domains: {name!r} is no set of probe texts; choose one of {', '.join(DOMAIN_SETS)}")
    manifest = write_domains(out_dir, name, documents, facts)
    parts = manifest["domains"].items()
    counts = ", ".join(f"{domain} {part['documents']:,} ({part['bytes'] / 1e6:.2f} MB)" for domain, part in parts)
    _say(f"domains: {name}, {counts}", started)
    return manifest


def _text_source(name: str, corpus_dir: Path | str, roots: Mapping[str, str | Path | None]) -> TextSource:
    if name in EMBEDDED_SETS:
        return embedded_source(corpus_dir, name)
    if name in HUB_TEXTS:
        return hub_source(name, roots)
    raise BadInput(f"data.set: {name!r} is no text set; choose one of {', '.join(TEXT_SETS)}")


def _build(kind: type[Settings], settings: Mapping, where: str) -> Settings:
    """A settings dataclass from a mapping; `origin` is skipped, unknown and missing keys are BadInput."""
    given = {key: value for key, value in settings.items() if key != "origin"}
    known = {field.name: field for field in fields(kind)}
    for key in given:
        if key not in known:
            raise BadInput(f"{where}.{key}: unknown key; known are {', '.join(known)}")
    for key, field in known.items():
        if key not in given and field.default is MISSING:
            raise BadInput(f"{where}.{key}: missing; set it")
    return kind(**given)


def _say_dropped(name: str, dropped: Mapping) -> None:
    parts = [
        f"{part['count']} {split} ({first_names(part['names'])})" for split, part in dropped.items() if part["count"]
    ]
    if parts:
        _say(f"images: {name}, left out as corrupt: {', '.join(parts)}; manifest.json names all")


def _say(line: str, started: float | None = None) -> None:
    seconds = "" if started is None else f" in {time.perf_counter() - started:.1f} s"
    Console().print(f"{line}{seconds}", highlight=False, markup=False, soft_wrap=True)
