"""Snakemake with its calls of Python functions counted: what a plan takes, on a busy machine too."""

from __future__ import annotations

import sys
import time

from snakemake.cli import main as snakemake


def main() -> None:
    """Run the command line, and print how many functions it called and its processor seconds."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    begun = time.process_time()
    sys.setprofile(count)
    try:
        snakemake(sys.argv[1:])
    finally:
        sys.setprofile(None)
        print(f"calls {calls} seconds {time.process_time() - begun:.1f}")
