"""The data steps as the command line calls them; each prints one line with counts and seconds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from moe_replication.data.corpus import EMBEDDED_SETS, CorpusSettings, build_corpus, embedded_source
from moe_replication.data.hub_images import HUB_SETS, make_hub_set
from moe_replication.data.hub_text import HUB_TEXTS, hub_source
from moe_replication.data.images import make_digit_pairs, make_digits
from moe_replication.data.shards import write_manifest, write_split
from moe_replication.data.sources import TextSource
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
) -> dict:
    """Train a tokenizer on the train split of one of TEXT_SETS and write token shards.

    Embedded sets are read from `corpus_dir`, the others from roots[source] or, when that is None, the hub.
    Returns the manifest.
    """
    started = time.perf_counter()
    chosen = _build(TokenSettings, settings, "data")
    out_dir = Path(out_dir)
    (out_dir / "manifest.json").unlink(missing_ok=True)
    text = _text_source(source, corpus_dir, roots)
    path = out_dir / "tokenizer.json"
    trained = train_tokenizer(
        path,
        text.batches("train"),
        vocab_size=chosen.vocab_size,
        sample_megabytes=chosen.tokenizer_megabytes,
    )
    _say(f"tokenizer: {chosen.vocab_size:,} entries from {trained['sample_bytes'] / 1e6:.1f} MB", started)
    started = time.perf_counter()
    tokenizer = load_tokenizer(path)
    splits = {
        split: write_split(
            out_dir,
            split,
            text.batches(split),
            tokenizer,
            max_tokens=limit,
            shard_tokens=chosen.shard_tokens,
        )
        for split, limit in (("train", chosen.train_tokens), ("validation", chosen.validation_tokens))
    }
    manifest = write_manifest(
        out_dir,
        splits,
        vocab_size=chosen.vocab_size,
        tokenizer=trained,
        source=text.facts,
        settings=asdict(chosen),
    )
    counts = ", ".join(f"{name} {part['tokens']:,}" for name, part in splits.items())
    _say(f"tokens: {counts}; {splits['train']['bytes_per_token']:.2f} bytes per token", started)
    return manifest


def prepare_images(
    out_dir: Path | str,
    name: str,
    roots: Mapping[str, str | Path | None],
    *,
    train_pairs: int = 4000,
    test_pairs: int = 1000,
) -> dict:
    """Make a set of IMAGE_SETS; the pair counts apply to digits-100 and digits-200. Returns its manifest."""
    started = time.perf_counter()
    if name == "digits-10":
        manifest = make_digits(out_dir)
    elif name in ("digits-100", "digits-200"):
        manifest = make_digit_pairs(
            out_dir, rotations=name == "digits-200", train_count=train_pairs, test_count=test_pairs
        )
    elif name in HUB_SETS:
        manifest = make_hub_set(out_dir, name, roots)
    else:
        raise BadInput(f"data.set: {name!r} is no image set; choose one of {', '.join(IMAGE_SETS)}")
    counts = manifest["counts"]
    _say(
        f"images: {name}, {counts['train']:,} train, {counts['test']:,} test, {manifest['classes']} classes",
        started,
    )
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


def _say(line: str, started: float) -> None:
    Console().print(f"{line} in {time.perf_counter() - started:.1f} s", highlight=False, markup=False, soft_wrap=True)
