"""Train a run on this machine's GPU and print its peak: gpu_peak.py RUN_FOLDER, in the project's root.

Nothing is saved: a checkpoint of d20 has 20 GB.
"""

from __future__ import annotations

import json
import sys

import torch

from moe_replication.config import load_project
from moe_replication.config.project import parse_run_path
from moe_replication.training import loop
from moe_replication.training.run import train_in_turn


def main(folder: str) -> None:
    """Print JSON: bytes that the process took of its device at most, CUDA context included."""
    name = parse_run_path(folder)
    project = load_project(".", {"scale": name.scale, "conditions": [name.condition], "seeds": [name.seed]})
    loop.Trainer._save = loop.save_snapshot = lambda *_: None
    train_in_turn(project, list(project.runs))
    cuda = torch.cuda.is_available()
    context = 0
    if cuda:
        free, whole = torch.cuda.mem_get_info()
        context = whole - free - torch.cuda.memory_reserved()
    reserved = torch.cuda.max_memory_reserved() if cuda else 0
    print(json.dumps({"peak": reserved + context, "reserved": reserved, "context": context}))


if __name__ == "__main__":
    main(sys.argv[1])
