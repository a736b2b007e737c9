"""Kills one run again and again at chosen moments, until it has been killed often enough; test_kills.py starts it.

    python kill_driver.py RUN_DIRECTORY KILLS SEED

Libraries are imported once and every attempt is a forked process, which says what it does through a pipe. A moment is
the n-th event of a name since the start: a step, the point between the weights' update and the routing state's, a file
written, synced, renamed or removed; every kind of kill takes its turn at every name. Prints the kills by kind and name
as JSON; exits with an error where a finished run differs from the undisturbed one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import torch

from moe_replication.config import load_project
from moe_replication.config.project import parse_run_path
from moe_replication.training import loop
from moe_replication.training.run import train_in_turn

RECORD = ("run.json", "curve.parquet", "experts.parquet", "config.json")
OUT_OF_MEMORY, KILLER = "allocation fails", "out-of-memory killer"
NAMES = ("torch.save", "fsync", "replace", "rmtree", "end_step", "step")
KINDS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGUSR1", OUT_OF_MEMORY, KILLER)
REQUEUE = 75


class Events:
    """Counts what training does, and at the `at`-th event called `name` does what `kind` says."""

    def __init__(self, pipe: int, kind: str, name: str, at: int) -> None:
        self.pipe, self.kind, self.name, self.at = pipe, kind, name, at
        self.counts: Counter[str] = Counter()

    def watch(self) -> None:
        """Put a counter before everything that a kill could fall between."""
        for place, name in ((os, "fsync"), (os, "replace"), (shutil, "rmtree"), (loop, "end_step")):
            setattr(place, name, self._counted(name, getattr(place, name)))
        loop.Trainer._step = self._counted("step", loop.Trainer._step)
        torch.save = self._counted("torch.save", torch.save)

    def _counted(self, name: str, do: Callable) -> Callable:
        def counted(*arguments, **options):
            self.counts[name] += 1
            if (name, self.counts[name]) == (self.name, self.at):
                os.write(self.pipe, f"{name}\n".encode())
                self._strike(name, do, arguments, options)
            return do(*arguments, **options)

        return counted

    def _strike(self, name: str, do: Callable, arguments: tuple, options: dict) -> None:
        if self.kind == OUT_OF_MEMORY:
            raise MemoryError
        if self.kind == KILLER:  # the parent sends SIGKILL when it reads the pipe, whatever this process does then
            return
        if self.kind == "SIGKILL" and name == "torch.save":  # a file that ends in the middle
            do(*arguments, **options)
            if isinstance(arguments[1], str | Path):
                os.truncate(arguments[1], os.path.getsize(arguments[1]) // 2)
        os.kill(os.getpid(), getattr(signal, self.kind))


def attempt(run: str, kind: str = "", name: str = "", at: int = 0) -> tuple[int, bool, dict[str, int]]:
    """Fork, train, and kill; the exit code (negative: a signal's), whether it was struck, the events counted."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _train(run, Events(writing, kind, name, at))
    os.close(writing)
    struck, counts = False, {}
    with os.fdopen(reading, encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("{"):
                counts = json.loads(line)
                continue
            struck = True
            if kind == KILLER:
                os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), struck, counts


def _train(run: str, events: Events) -> None:
    with open("kill_driver.log", "a", encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    code = 0
    try:
        name = parse_run_path(run)
        project = load_project(Path.cwd(), {"scale": name.scale})
        events.watch()
        train_in_turn(project, [project.run(name.paper, name.condition, name.seed)])
        os.write(events.pipe, f"{json.dumps(events.counts)}\n".encode())
    except SystemExit as stop:
        code = stop.code
    except BaseException:
        traceback.print_exc()
        code = 1
    os._exit(code)


def results(run: str) -> dict[str, bytes]:
    """The record's files and the weights of every snapshot, byte by byte."""
    found = {name: Path(run, name).read_bytes() for name in RECORD}
    key = json.loads(found["run.json"])["run"]["run_key"]
    for snapshot in Path("results/smoke/checkpoints", key, "snapshots").glob("*.pt"):
        saved = torch.load(snapshot, weights_only=True)
        states = [state for layer in saved["task"]["routing"] for state in layer.values()]
        found[snapshot.name] = b"".join(part.numpy().tobytes() for part in [*saved["model"].values(), *states])
    return found


def expected_code(kind: str, code: int) -> bool:
    """Whether a struck attempt ended as its kind must; 0 where the signal came too late."""
    if kind in ("SIGKILL", KILLER):
        return code == -signal.SIGKILL or (kind == KILLER and code == 0)
    return code == 1 if kind == OUT_OF_MEMORY else code in (REQUEUE, 0)


def main(run: str, wanted: int, seed: int) -> None:
    """Kill until `wanted` attempts have been cut short, comparing whenever a run gets to its end."""
    code, _, counts = attempt(run)
    assert code == 0, "the undisturbed run failed; see kill_driver.log"
    undisturbed, choice, kills, finished, here = results(run), Random(seed), Counter(), 0, 0
    shutil.rmtree("results")
    while True:
        enough, number = kills.total() >= wanted, seed * wanted + kills.total()
        kind = "" if enough else KINDS[number % len(KINDS)]
        name = "" if enough else NAMES[(number + number // len(KINDS)) % len(NAMES)]
        # Early on, so that it takes several kills to get through a run.
        code, struck, _ = attempt(run, kind, name, choice.randint(1, max(1, counts.get(name, 0) // 4)))
        if struck:
            assert expected_code(kind, code), f"{kind} at {name}: exit code {code}; see kill_driver.log"
        if code != 0:
            assert struck, f"exit code {code} without a kill; see kill_driver.log"
            kills[f"{kind} at {name}"] += 1
            here += 1
            continue
        different = [name for name, content in results(run).items() if undisturbed.get(name) != content]
        assert not different, f"after {here} kills {different} differ from the undisturbed run's"
        starts = json.loads(Path(run, "cost.json").read_text(encoding="utf-8"))["starts"]
        assert starts <= here + 1, f"{starts} starts after {here} kills"
        finished, here = finished + 1, 0
        shutil.rmtree("results")
        if enough:
            break
    print(json.dumps({"events": counts, "finished": finished, "kills": kills}, sort_keys=True))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
