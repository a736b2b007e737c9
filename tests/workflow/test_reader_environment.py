"""`make report BUNDLE=file` where nothing is installed: an environment without torch, and quick once it is there."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from moe_replication.config import load_project
from moe_replication.config.probe import probe_folder
from moe_replication.files import read_json
from moe_replication.planning.plan import make_plan
from scratch_project import PARTS, ROOT, Scratch, make_scratch

pytestmark = [pytest.mark.slow, pytest.mark.long]

EVERYTHING = ("scale=smoke", "tracking={enabled: false}")
FINISHED = ("trained", "results/smoke/probe-metrics.parquet", "results/smoke/scorecard.json")
CHECKOUT = (*PARTS, "Makefile", "pyproject.toml", "README.md", "LICENSE")
ABSENT = ("torch", "torchvision", "deepspeed", "datasets", "tokenizers", "mlflow")
SECONDS = 120
MEGABYTES = 50


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """Every run of the smoke scale with its probes and verdicts."""
    scratch = make_scratch(tmp_path_factory.mktemp("everything"), job="paper")
    scratch.snakemake(*FINISHED, config=EVERYTHING)
    return scratch


@pytest.fixture(scope="module")
def bundle(everything: Scratch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "all-smoke.tar.gz"
    everything.run("moe-replication", "export", "--scale", "smoke", "--out", str(path))
    return path


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader has cloned: no environment, no results."""
    root = tmp_path_factory.mktemp("reader") / "checkout"
    root.mkdir()
    for part in CHECKOUT:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(ROOT / part, root / part)
    return root


def make_report(checkout: Path, bundle: Path) -> float:
    """Seconds that `make report BUNDLE=file` takes in a shell that has never seen this environment."""
    own = {str(Path(sys.executable).parent), str(ROOT / ".venv/bin")}
    places = (place for place in os.environ["PATH"].split(os.pathsep) if place not in own)
    kept = {name: text for name, text in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment = kept | {"PATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"}
    python = Path(sys.base_prefix) / f"bin/python3.{sys.version_info.minor}"
    command = ("make", "report", f"BUNDLE={bundle}", "CORES=2", f"PYTHON={python}")
    start = time.monotonic()
    result = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    return time.monotonic() - start


def test_make_report_installs_no_torch_and_then_takes_under_two_minutes(everything, bundle, checkout):
    size = bundle.stat().st_size / 2**20
    first = make_report(checkout, bundle)
    assert not (checkout / ".venv").exists()
    find = f"from importlib.util import find_spec; print([name for name in {ABSENT} if find_spec(name)])"
    reader = (str(checkout / "build/reader/bin/python"), "-c", find)
    assert subprocess.run(reader, capture_output=True, text=True, check=True).stdout.strip() == "[]"
    second = make_report(checkout, bundle)
    print(f"bundle {size:.1f} MB; environment and report {first:.0f} s; report again {second:.0f} s")
    project = checkout / "build/report/all-smoke"
    assert read_json(project / "results/smoke/scorecard.json") == read_json(
        everything.root / "results/smoke/scorecard.json"
    )
    assert len(list((project / "figures/smoke").glob("*.png"))) > 40
    assert (project / "report.html").stat().st_size > 1_000_000
    assert second < SECONDS
    assert size < MEGABYTES


def enlarged(table: pl.DataFrame, rows: int, generator: np.random.Generator) -> pl.DataFrame:
    """The table repeated up to a number of rows, no two numbers alike, so that it cannot be packed any better."""
    repeated = table[np.resize(np.arange(table.height), rows)]
    noise = pl.Series(1 + generator.normal(0, 1e-3, rows))
    return repeated.with_columns(pl.col(pl.Float64) * noise)


def packed(table: pl.DataFrame) -> int:
    content = io.BytesIO()
    table.write_parquet(content)
    return len(gzip.compress(content.getvalue()))


def test_bundle_of_the_cpu_scale_stays_under_50_megabytes(everything):
    """An estimate: records of the smoke scale grown to the rows that the cpu scale logs, probes counted thrice."""
    smoke, cpu = (load_project(ROOT, {"scale": scale}) for scale in ("smoke", "cpu"))
    generator, seeds, size = np.random.default_rng(0), len({run.seed for run in cpu.runs}), 0
    for plan in make_plan(cpu).conditions:
        run = smoke.run(plan.paper, plan.condition, smoke.runs[0].seed)
        training = cpu.run(plan.paper, plan.condition, cpu.runs[0].seed).config.training
        rows = plan.horizon.steps // training.log_every + plan.horizon.evaluations + 2
        folder, probes = everything.root / run.folder, everything.root / probe_folder(run)
        curve, experts = (pl.read_parquet(folder / f"{name}.parquet") for name in ("curve", "experts"))
        size += packed(enlarged(curve, rows, generator))
        a_step = experts.height // max(experts["step"].n_unique(), 1)
        size += packed(enlarged(experts, a_step * rows, generator)) if a_step else 0
        size += sum(len(gzip.compress(path.read_bytes())) for path in folder.glob("*.json"))
        size += 3 * sum(len(gzip.compress(path.read_bytes())) for path in probes.glob("*"))
    megabytes = seeds * size / 2**20
    print(f"bundle of the cpu scale: about {megabytes:.1f} MB")
    assert megabytes < MEGABYTES
