"""The embedded text corpus: docstrings and language reference of the installed Python stack, no download."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import multiprocessing
import os
import platform
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from moe_replication.data.docstrings import Document, SourceFile, read_sources
from moe_replication.data.sources import SPLITS, TextSource, hash_split
from moe_replication.errors import BadInput
from moe_replication.files import atomic_path, read_json, sha256_file, write_json

STANDARD_LIBRARY = "stdlib"
LANGUAGE_REFERENCE = "python-reference"
DOMAINS = ("prose", "code")
# Text sets made of the corpus, and the domain each is restricted to.
EMBEDDED_SETS = {"embedded": None, "embedded-prose": "prose"}

# Tests and copies of other packages.
_SKIPPED_FOLDERS = {"test", "tests", "_vendor", "vendor", "_vendored", "vendored", "externals", "third_party"}
# Parts of the standard library that distributions leave out, unmaintained ones, and generated tables.
_SKIPPED_MODULES = {
    *("distutils", "encodings", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "tkinter"),
    *("turtle", "turtledemo", "venv"),
}
_FILES_PER_TASK = 64


@dataclass(frozen=True, kw_only=True)
class CorpusSettings:
    """What makes the corpus; lengths in characters, `validation_percent` of documents go to validation."""

    packages: tuple[str, ...]
    minimum_characters: int
    maximum_characters: int
    validation_percent: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "packages", tuple(self.packages))
        if not self.packages or len(set(self.packages)) < len(self.packages):
            raise BadInput(f"corpus.packages: {list(self.packages)} must name each package once; edit the list")
        if not 1 <= self.minimum_characters <= self.maximum_characters:
            raise BadInput(
                f"corpus.minimum_characters: {self.minimum_characters} must lie between 1 and "
                f"corpus.maximum_characters = {self.maximum_characters}"
            )
        if not 0 < self.validation_percent < 100:
            raise BadInput(f"corpus.validation_percent: {self.validation_percent} must lie between 0 and 100")


def build_corpus(out_dir: Path | str, settings: CorpusSettings, workers: int = 1) -> dict:
    """Write documents.parquet and manifest.json to `out_dir`; the same for any number of workers.

    Documents come in the order of the package list, then path, then place in the file; of documents that
    agree but for whitespace the first is kept. Returns the manifest.
    """
    out_dir = Path(out_dir)
    (out_dir / "manifest.json").unlink(missing_ok=True)
    sources = [source for package in settings.packages for source in find_sources(package)]
    versions = package_versions(settings.packages)
    documents: dict[str, Document] = {}
    unparsed = []
    for source, found in zip(sources, _read_all(sources, settings, workers), strict=True):
        if found is None:
            unparsed.append(source.path)
            continue
        for document in found:
            documents.setdefault(document.digest, document)
    table = _table(documents.values(), settings.validation_percent)
    with atomic_path(out_dir / "documents.parquet") as temporary:
        table.write_parquet(temporary, compression="zstd", compression_level=3)
    manifest = {
        "format": 1,
        "settings": asdict(settings),
        "versions": versions,
        "files_read": len(sources),
        "files_not_parsed": unparsed,
        "documents": table.height,
        "characters": _characters(table),
        "by_split": _counts(table, "split"),
        "by_domain": _counts(table, "domain"),
        "by_package": _counts(table, "package"),
        "content_sha256": _content_sha256(table),
        "file_sha256": sha256_file(out_dir / "documents.parquet"),
    }
    write_json(out_dir / "manifest.json", manifest)
    return manifest


def read_documents(folder: Path | str) -> pl.DataFrame:
    """Columns doc_id, package, path, domain, split, text; BadInput names an altered or missing file."""
    folder = Path(folder)
    manifest = read_json(folder / "manifest.json")
    path = folder / "documents.parquet"
    if not path.exists():
        raise BadInput(f"{path}: no such file; delete {folder} and prepare the corpus again")
    if sha256_file(path) != manifest.get("file_sha256"):
        raise BadInput(f"{path}: SHA-256 differs from manifest.json; delete {folder} and prepare the corpus again")
    return pl.read_parquet(path)


def content_sha256(folder: Path | str) -> str:
    """Fingerprint of the corpus in a folder, as its manifest states it; BadInput where it does not."""
    path = Path(folder, "manifest.json")
    found = read_json(path).get("content_sha256")
    if not isinstance(found, str):
        raise BadInput(f"{path}: lacks content_sha256; delete {path.parent} and prepare the corpus again")
    return found


def embedded_source(folder: Path | str, name: str) -> TextSource:
    """The corpus in `folder` as one of EMBEDDED_SETS."""
    documents = read_documents(folder)
    return TextSource(
        facts={
            "name": name,
            "corpus_sha256": content_sha256(folder),
            "order": "hash of the text",
        },
        batches=lambda split: [select_documents(documents, split=split, domain=EMBEDDED_SETS[name])],
    )


def select_documents(documents: pl.DataFrame, *, split: str, domain: str | None = None) -> pl.DataFrame:
    """Documents of a split, optionally of one domain, in hash order (a fixed shuffle)."""
    if split not in SPLITS:
        raise BadInput(f"split: {split!r} is none of {list(SPLITS)}")
    if domain is not None and domain not in DOMAINS:
        raise BadInput(f"domain: {domain!r} is none of {list(DOMAINS)}; leave it out for both")
    keep = pl.col("split") == split
    if domain is not None:
        keep &= pl.col("domain") == domain
    selected = documents.filter(keep).sort("doc_id")
    if selected.is_empty():
        raise BadInput(
            f"corpus: no {split} document"
            + (f" has domain {domain}" if domain else "")
            + "; add to corpus.packages and prepare the corpus again"
        )
    return selected


def find_sources(package: str) -> list[SourceFile]:
    """The Python files of one entry of the package list, sorted by path; nothing is imported.

    An entry is a package (`numpy`), a folder of one (`torch.nn`), `stdlib` or `python-reference`.
    """
    standard = Path(sysconfig.get_path("stdlib"))
    if package == LANGUAGE_REFERENCE:
        file = standard / "pydoc_data" / "topics.py"
        if not file.exists():
            raise BadInput(f"corpus.packages: {package} needs {file}, which this Python lacks; remove the entry")
        return [SourceFile(package, "pydoc_data/topics.py", file)]
    if package == STANDARD_LIBRARY:
        names = sorted(set(sys.stdlib_module_names) - _SKIPPED_MODULES)
        roots = [path for name in names for path in (standard / name, standard / f"{name}.py") if path.exists()]
        return [SourceFile(package, *item) for root in roots for item in _python_files(root, standard)]
    root = _package_root(package)
    depth = package.count(".") + 1
    found = [SourceFile(package, *item) for item in _python_files(root, Path(*root.parts[:-depth]))]
    if not found:
        raise BadInput(f"corpus.packages: {package!r} has no Python files under {root}; remove the entry")
    return found


def package_versions(packages: Sequence[str]) -> dict[str, str]:
    """Version of the distribution (or of Python) behind every entry of the package list."""
    distributions = importlib.metadata.packages_distributions()
    versions = {}
    for package in packages:
        owners = distributions.get(package.partition(".")[0])
        versions[package] = importlib.metadata.version(owners[0]) if owners else platform.python_version()
    return versions


def _package_root(package: str) -> Path:
    """Folder (or single file) of an importable package, found without importing it."""
    top, *rest = package.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not (spec.submodule_search_locations or spec.has_location):
        raise BadInput(f"corpus.packages: {package!r} is not installed; install it or remove it from the list")
    if not spec.submodule_search_locations:
        return Path(spec.origin)
    root = Path(next(iter(spec.submodule_search_locations)), *rest)
    if not root.is_dir():
        raise BadInput(f"corpus.packages: {package!r} has no folder {'/'.join(rest)} in {top}; correct the entry")
    return root


def _python_files(root: Path, base: Path) -> list[tuple[str, Path]]:
    """(path relative to `base`, file) of the .py files at or under `root`, sorted."""
    if root.is_file():
        return [(root.relative_to(base).as_posix(), root)]
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in _SKIPPED_FOLDERS]
        found += [Path(folder, name) for name in files if name.endswith(".py")]
    return sorted((file.relative_to(base).as_posix(), file) for file in found)


def _read_all(sources: list[SourceFile], settings: CorpusSettings, workers: int) -> Iterator[list[Document] | None]:
    """`read_source` of every file in order, in this process or in `workers` of them."""
    tasks = [sources[at : at + _FILES_PER_TASK] for at in range(0, len(sources), _FILES_PER_TASK)]
    limits = ([settings.minimum_characters] * len(tasks), [settings.maximum_characters] * len(tasks))
    if workers == 1:
        for results in map(read_sources, tasks, *limits):
            yield from results
        return
    # Spawned rather than forked: the caller may hold threads.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for results in pool.map(read_sources, tasks, *limits):
            yield from results


def _table(documents: Iterator[Document], validation_percent: float) -> pl.DataFrame:
    rows = list(documents)
    if not rows:
        raise BadInput("corpus.packages: no document is long enough; lower corpus.minimum_characters")
    return pl.DataFrame(
        {
            "doc_id": [row.digest[:16] for row in rows],
            "package": [row.package for row in rows],
            "path": [row.path for row in rows],
            "domain": [row.domain for row in rows],
            "split": [hash_split(row.digest, validation_percent) for row in rows],
            "text": [row.text for row in rows],
        }
    )


def _counts(table: pl.DataFrame, column: str) -> dict[str, dict[str, int]]:
    return {
        str(name): {"documents": part.height, "characters": _characters(part)}
        for (name,), part in table.group_by(column, maintain_order=True)
    }


def _characters(table: pl.DataFrame) -> int:
    return int(table["text"].str.len_chars().sum())


def _content_sha256(table: pl.DataFrame) -> str:
    """SHA-256 over all columns of all rows, independent of the parquet writer."""
    digest = hashlib.sha256()
    for row in table.iter_rows():
        digest.update("\x1f".join(row).encode())
        digest.update(b"\x1e")
    return digest.hexdigest()
