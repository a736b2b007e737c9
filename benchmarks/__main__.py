"""Run benchmark suites: `python -m benchmarks` for all, `python -m benchmarks layer step --quick` for some."""

from __future__ import annotations

import argparse
import importlib

import torch

from benchmarks import results

SUITES = ("layer", "step", "vision", "tokens", "analysis", "workflow", "growth")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("suites", nargs="*", default=SUITES, help=f"any of {', '.join(SUITES)}; all when left out")
    parser.add_argument("--quick", action="store_true", help="fewer shapes and rounds: a minute a suite")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default 1, as runs train)")
    options = parser.parse_args()
    unknown = sorted(set(options.suites) - set(SUITES))
    if unknown:
        parser.error(f"no such suite: {', '.join(unknown)}; there are {', '.join(SUITES)}")
    torch.set_num_threads(options.threads)
    for suite in options.suites:
        rows = importlib.import_module(f"benchmarks.{suite}").run(options.quick)
        print(f"{suite}: {results.keep(suite, rows)}")


if __name__ == "__main__":
    main()
