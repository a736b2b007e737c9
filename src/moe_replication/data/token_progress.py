"""How far the preparation of tokens has come: progress.json beside the shards, until the manifest is written."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from moe_replication.data.manifest import check_file
from moe_replication.data.shard_writer import WholeShard, index_parts
from moe_replication.errors import BadInput
from moe_replication.files import read_json, sha256_file, write_json

_FILE = "progress.json"


@dataclass(kw_only=True)
class TokenProgress:
    """What is there already: `tokenizer` and finished `splits` as the manifest will state them, `whole` shards.

    `made_from` (JSON) is everything that decides the contents. Shards, hashes and the parts of the document index
    go by name; a split's position in the source is the `documents` of its last whole shard.
    """

    folder: Path
    made_from: dict
    tokenizer: dict | None = None
    splits: dict[str, dict] = field(default_factory=dict)
    whole: dict[str, list[WholeShard]] = field(default_factory=dict)

    def save(self) -> None:
        """Write progress.json atomically."""
        content = {key: value for key, value in asdict(self).items() if key != "folder"}
        write_json(self.folder / _FILE, {"format": 1, **content})

    def remove(self) -> None:
        """Delete what a complete folder does not need."""
        for path in (self.folder / _FILE, *index_parts(self.folder)):
            path.unlink(missing_ok=True)


def read_progress(folder: Path, made_from: dict) -> tuple[TokenProgress, str]:
    """What an interrupted call left that is whole and made from the same, and a line about it ("" = nothing left).

    A damaged shard takes its split back to the last whole one before it; another `made_from` starts over.
    """
    fresh = TokenProgress(folder=folder, made_from=made_from)
    path = folder / _FILE
    if not path.exists():
        return fresh, ""
    try:
        found = read_json(path)
    except BadInput:
        return fresh, f"{path} is damaged: starting over"
    try:
        return _sound_progress(fresh, found)
    except (KeyError, TypeError, AttributeError):  # JSON, but not as `save` writes it
        return TokenProgress(folder=folder, made_from=made_from), f"{path} is damaged: starting over"


def _sound_progress(fresh: TokenProgress, found: dict) -> tuple[TokenProgress, str]:
    folder, made_from = fresh.folder, fresh.made_from
    path = folder / _FILE
    changed = [key for key, value in made_from.items() if found.get("made_from", {}).get(key) != value]
    if found.get("format") != 1 or changed:
        return fresh, f"{path} was made from other {' and '.join(changed) or 'code'}: starting over"
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.exists() or sha256_file(tokenizer) != found["tokenizer"]["sha256"]:
        return fresh, f"{tokenizer} is damaged: starting over"
    fresh.tokenizer = found["tokenizer"]
    counts = []
    for split, records in found["whole"].items():
        whole = [WholeShard(**record) for record in records]
        sound = [_are_sound(folder, item.shard, item.index) for item in whole]
        fresh.whole[split] = whole[: [*sound, False].index(False)]
        counts.append(f"{split} {len(fresh.whole[split])}" + (f" of {len(whole)}" if not all(sound) else ""))
        entry = found["splits"].get(split)
        if entry is not None and all(sound) and _are_sound(folder, *entry["shards"][len(whole) :], entry["index"]):
            fresh.splits[split] = entry
    return fresh, "going on after an interruption; whole shards: " + ", ".join(counts or ["none"])


def _are_sound(folder: Path, *entries: dict) -> bool:
    """Whether files are there with their size and hash."""
    try:
        for entry in entries:
            check_file(folder, entry, verify=True)
    except BadInput:
        return False
    return True
