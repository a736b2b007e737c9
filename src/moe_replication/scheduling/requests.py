"""What a job asks a cluster for: host memory, GPU memory and time, from the planner's numbers of its runs."""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from moe_replication.config.fingerprint import code_version
from moe_replication.config.project import Project, Run
from moe_replication.errors import BadInput
from moe_replication.files import read_json, sha256_file, sha256_json, write_json
from moe_replication.scheduling.settings import scheduling_settings

_MB = 1024**2 / 1e9
_PLAN_CODE = ("planning", "models", "layers")
_NUMBERS = ("gpus", "gpu_hours", "memory_gb", "checkpoint_gb")
_LARGEST = 1e9  # hours, GB or GPUs of one run: far above any plan


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """MB of the host for all processes, MB of each GPU, minutes."""

    mem_mb: int
    gpu_mem_mb: int
    runtime: int


class JobRequests:
    """Requests of the jobs of `project`; `needed` says whether anybody reads them, so that nobody plans in vain."""

    def __init__(self, project: Project, needed: Callable[[], bool]) -> None:
        self.project, self.needed = project, needed

    def resource(self, runs: Sequence[Run], name: str) -> Callable[[object], int]:
        """A function of the wildcards for Snakemake; 0 asks for nothing."""

        def ask(wildcards: object) -> int:
            return getattr(self.of(runs), name) if self.needed() else 0

        return ask

    def of(self, runs: Sequence[Run]) -> Request:
        """Request of a job that takes `runs` in turn."""
        ask = scheduling_settings(self.project.root).requests
        plans = [self._planned[run.paper, run.condition] for run in runs]
        on_gpu = self.project.scale.gpus_per_process > 0
        device = max(plan["memory_gb"] for plan in plans) * ask.memory_factor
        processes = max(plan["gpus"] for plan in plans)
        saved = max(plan["checkpoint_gb"] for plan in plans)
        # A checkpoint passes through the host's memory; on a CPU the planner counted the state there already.
        host = processes * ask.gpu_process_gb + saved if on_gpu else processes * (ask.process_gb + device)
        hours = sum(plan["gpu_hours"] / plan["gpus"] for plan in plans)
        minutes = ask.start_minutes + ask.runtime_factor * 60 * hours
        return Request(
            mem_mb=round(host / _MB),
            gpu_mem_mb=round((device + ask.gpu_context_gb) / _MB) if on_gpu else 0,
            runtime=round(min(minutes, ask.longest_minutes)),
        )

    @functools.cached_property
    def _planned(self) -> dict[tuple[str, str], dict]:
        """The plan by (paper, condition), kept in results/ for jobs that a cluster starts; BadInput without torch."""
        path, key = self.project.root / "results" / self.project.scale.name / "planned.json", self._key()
        kept = self._kept(path, key)
        if kept is None:
            if importlib.util.find_spec("torch") is None:
                # 0 MB would be granted as all of a node, or as next to nothing.
                raise BadInput(
                    "what jobs ask for cannot be planned: torch is not installed where Snakemake runs; install the"
                    f" extra 'train' there too, or copy {path.relative_to(self.project.root)} of the same settings"
                    " from a machine that has it"
                )
            from moe_replication.planning.plan import make_plan, plan_json

            kept = plan_json(make_plan(self.project))["conditions"]
            write_json(path, {"key": key, "conditions": kept})
        return {(row["paper"], row["condition"]): row for row in kept}

    def _kept(self, path: Path, key: str) -> list[dict] | None:
        """Rows of the kept plan; None where it is of other settings, lacks a condition, or is damaged."""
        try:
            kept = read_json(path)
        except BadInput:
            return None
        rows = kept.get("conditions")
        if kept.get("key") != key or not isinstance(rows, list) or not all(map(_is_planned, rows)):
            return None
        wanted = {(run.paper, run.condition) for run in self.project.runs}
        return rows if wanted <= {(row["paper"], row["condition"]) for row in rows} else None

    def _key(self) -> str:
        versions = [c.version for paper in self.project.papers.values() for c in paper.conditions.values()]
        planning = sha256_file(self.project.root / "config/planning.yaml")
        return sha256_json([versions, planning, code_version(*_PLAN_CODE)])


def threads_of_all(cores: int | None, root: Path) -> int:
    """Threads of a job that takes every core: the workflow's, within a job those it was given, and of a cluster, where
    Snakemake counts none, what config/scheduling.yaml says."""
    if cores is None:
        return scheduling_settings(root).requests.all_cpus
    return min(cores, int(os.environ.get("SLURM_CPUS_ON_NODE", cores)))


def _is_planned(row: object) -> bool:
    """Whether a row of a kept plan can be reckoned with."""
    if not (isinstance(row, dict) and isinstance(row.get("paper"), str) and isinstance(row.get("condition"), str)):
        return False
    numbers = [row.get(name) for name in _NUMBERS]
    # NaN lies in no bounds.
    return row.get("gpus") != 0 and all(
        isinstance(n, int | float) and not isinstance(n, bool) and 0 <= n <= _LARGEST for n in numbers
    )
