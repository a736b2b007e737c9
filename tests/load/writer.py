"""One of many processes that write runs at once: writer.py ROOT FIRST COUNT writes seeds FIRST to FIRST + COUNT - 1."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.made_runs import write_run

root, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
for seed in range(first, first + count):
    write_run(root, "expert-threshold", "et", seed)
