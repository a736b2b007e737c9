"""Which prepared data a run reads, from its settings alone."""

from __future__ import annotations

import re
from pathlib import Path

from moe_replication.config.run import RunConfig
from moe_replication.errors import BadInput

EMBEDDED_TEXT = ("embedded", "embedded-prose")


def data_name(config: RunConfig) -> str:
    """Folder name of a run's prepared data: everything that decides its contents."""
    data = config.data
    if config.task == "vision":
        return data.set
    parts = (data.set, data.vocab_size, data.tokenizer_megabytes, data.train_tokens, data.validation_tokens)
    return "-".join(f"{part:g}" if isinstance(part, float) else str(part) for part in parts)


def parse_token_name(name: str) -> tuple[str, dict[str, int | float]]:
    """Text set and settings that `data_name` wrote into a folder name; BadInput for any other name."""
    whole = "([0-9]{1,15})"
    found = re.fullmatch(rf"([a-z0-9-]{{1,60}})-{whole}-([0-9]{{1,15}}(?:[.][0-9]{{1,15}})?)-{whole}-{whole}", name)
    if found is None:
        raise BadInput(f"tokens {name!r}: expected SET-VOCABULARY-TOKENIZER_MEGABYTES-TRAIN_TOKENS-VALIDATION_TOKENS")
    source, vocabulary, megabytes, train, validation = found.groups()
    return source, {
        "vocab_size": int(vocabulary), "tokenizer_megabytes": float(megabytes),
        "train_tokens": int(train), "validation_tokens": int(validation),
    }  # fmt: skip


def data_path(data_folder: str, config: RunConfig) -> Path:
    """Folder of a run's prepared data."""
    return Path(data_folder, "images" if config.task == "vision" else "tokens", data_name(config))
