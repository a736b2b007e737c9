"""A CORE bundle in miniature in the published layout, and a model whose losses are known.

The model knows one thing: a byte is followed by the next higher one with probability 1/2, by each of the other 256
tokens with 1/512. A token's loss is thus log 2 or log 512, whatever stands further to the left.
"""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path
from types import SimpleNamespace

import torch
import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from moe_replication.config.core import CoreSettings
from moe_replication.data.tokenizer import BOS

HIT, MISS = math.log(2), math.log(512)
VOCABULARY = 257

# Answers of the model, by hand; a question ends with its delimiter (" " for `order`, none for the others).
ITEMS = {
    # Common start "next a": b follows a. Then zz (two misses) against cde (one miss, two hits). Then two equal options.
    "order": [
        {"query": "next", "choices": ["ab", "ax"], "gold": 0},
        {"query": "next", "choices": ["zz", "cde"], "gold": 0},
        {"query": "next", "choices": ["xx", "yy"], "gold": 0},
    ],
    # b follows a; the common end of the second is "bc"; r follows q; h follows g.
    "pronoun": [
        {"context_options": ["a", "x"], "continuation": "bcd", "gold": 0},
        {"context_options": ["xb", "ab"], "continuation": "c", "gold": 1},
        {"context_options": ["m", "q"], "continuation": "r", "gold": 0},
        {"context_options": ["g", "h"], "continuation": "h", "gold": 0},
    ],
    "alphabet": [
        {"context": "abc  ", "continuation": "def"},
        {"context": "abc", "continuation": "dxf"},
        {"context": " x", "continuation": "yz"},
        {"context": "q", "continuation": "s"},
    ],
}
RIGHT = {"order": 2 / 3, "pronoun": 3 / 4, "alphabet": 2 / 4}
BASELINES = {"order": 50, "pronoun": 50, "alphabet": 0}
CENTERED = {"order": 1 / 3, "pronoun": 1 / 2, "alphabet": 1 / 2}
ENTRIES = [
    {"label": "order", "dataset_uri": "logic/order.jsonl", "num_fewshot": [2], "icl_task_type": "multiple_choice"},
    {
        "label": "pronoun", "dataset_uri": "language/pronoun.jsonl", "num_fewshot": [1], "icl_task_type": "schema",
        "continuation_delimiter": "",
    },
    {
        "label": "alphabet", "dataset_uri": "logic/alphabet.jsonl", "num_fewshot": [1],
        "icl_task_type": "language_modeling", "continuation_delimiter": "",
    },
]  # fmt: skip
META = "Eval Task,Task Category,Task Type,#shots,#datapoints,Random baseline,Centered Metric?,Description\n"


def core_settings_of(**known: object) -> CoreSettings:
    """Settings of the miniature bundle."""
    settings = {
        "url": "http://127.0.0.1:9/eval_bundle.zip", "tasks": tuple(ITEMS), "delimiter": " ", "order_seed": 1337,
        "shots_seed": 1234, "max_examples": None, "window": None, "scales": (), "batch_tokens": 64,
    }  # fmt: skip
    return CoreSettings(**(settings | known))


def write_bundle(root: Path) -> Path:
    """The folder eval_bundle/ below `root`."""
    folder = root / "eval_bundle"
    for entry in ENTRIES:
        file = folder / "eval_data" / entry["dataset_uri"]
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps(item) for item in ITEMS[entry["label"]])
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "core.yaml").write_text(yaml.safe_dump({"icl_tasks": ENTRIES}), encoding="utf-8")
    rows = [f'{name},logic,,,,{share},,"One, two"\n' for name, share in BASELINES.items()]
    # The published table holds more tasks than CORE.
    text = META + "".join(rows) + "mmlu_zeroshot,world knowledge,multiple choice,0,14042,25,,\n"
    (folder / "eval_meta_data.csv").write_text(text, encoding="utf-8")
    return folder


def zip_bundle(folder: Path, path: Path) -> Path:
    """The bundle as one zip with eval_bundle/ inside."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder.parent))
    return path


def byte_tokenizer() -> Tokenizer:
    """One token a byte, in byte order for ASCII text, `<|bos|>` first; no merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    printable = [chr(byte) for byte in range(33, 127)]
    # A blank is written as another letter, one that must come just before "!" as the blank does.
    order = ["Ġ", *printable]
    order += [letter for letter in alphabet if letter not in order]
    tokenizer = Tokenizer(models.BPE(vocab={BOS: 0} | {letter: i for i, letter in enumerate(order, 1)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([BOS])
    return tokenizer


class NextByteModel:
    """Hidden states are the tokens; the logit of the next higher token is log 256, that of the others 0."""

    loss_chunk_tokens = 5

    def __init__(self) -> None:
        self.batches: list[tuple[int, int]] = []
        self.chunks: list[int] = []
        self.rows: set[tuple[int, ...]] = set()

    def __call__(self, tokens_BT, context):
        assert not context.training
        self.batches.append(tuple(tokens_BT.shape))
        # Padding is `<|bos|>`, which stands nowhere else but first.
        self.rows |= {(0, *(token for token in row if token)) for row in tokens_BT.tolist()}
        return SimpleNamespace(hidden_BTD=tokens_BT.unsqueeze(-1).float())

    def logits(self, hidden):
        self.chunks.append(len(hidden))
        logits = torch.zeros(len(hidden), VOCABULARY)
        return logits.scatter_(1, hidden.long() + 1, math.log(VOCABULARY - 1))
