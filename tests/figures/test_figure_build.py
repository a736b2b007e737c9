"""Every figure of config/papers/ from one results tree, by name."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from figures.paper_b_tables import paper_b_tables
from moe_replication.config import load_project
from moe_replication.config.analysis import analysis_settings
from moe_replication.config.figures import TABLES
from moe_replication.errors import BadInput
from moe_replication.figures.build import draw_figure
from moe_replication.statistics.compare import compare
from moe_replication.statistics.probes import LABELS, STACKED

ROOT = Path(__file__).parents[2]
PROJECT = load_project(ROOT, {"scale": "smoke"})
ANALYSIS = analysis_settings(ROOT)
FIGURES = PROJECT.figures
# The probes of paper A are empty in the fixture, and so is what is drawn from nothing else but differences.
OF_PROBES = [name for name, entry in FIGURES.items() if any(table.startswith("probe-") for table in entry.tables)]


@pytest.fixture
def collected(tmp_path, paper_a_tables):
    """Results of every condition of both papers; the probes of paper A are empty."""
    folder = tmp_path / "results" / "smoke"
    folder.mkdir(parents=True)
    tables = {f"probe-{name}": [pl.DataFrame(schema=LABELS | schema)] for name, schema in STACKED.items()}
    for made in (paper_a_tables, paper_b_tables(PROJECT)):
        for name, table in made.items():
            tables.setdefault(name, []).append(table)
    for name, parts in tables.items():
        pl.concat(parts, how="diagonal_relaxed").write_parquet(folder / f"{name}.parquet")
    baselines = {
        (paper.name, name): condition.baseline
        for paper in PROJECT.papers.values()
        for name, condition in paper.conditions.items()
    }
    runs = pl.concat(tables["runs"], how="diagonal_relaxed")
    compare(runs, baselines, ANALYSIS, {}).write_parquet(folder / "comparisons.parquet")
    return folder.parent


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_draws_all_its_files(collected, tmp_path, name):
    files = draw_figure(name, FIGURES, "smoke", collected, tmp_path / "figures", ROOT)
    assert {file.name for file in (tmp_path / "figures" / "smoke").iterdir()} == {file.name for file in files}
    assert (
        name in OF_PROBES
        or pl.read_csv(tmp_path / "figures" / "smoke" / f"{name}.csv", infer_schema_length=None).height >= 4
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_figures_redraw_the_same_bytes(collected, tmp_path, name):
    first, second = (draw_figure(name, FIGURES, "smoke", collected, tmp_path / run, ROOT) for run in ("a", "b"))
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FIGURES if name.startswith("a-")])
def test_figures_of_a_scale_without_paper_a_say_so(collected, tmp_path, name):
    for table in TABLES:
        path = collected / "smoke" / f"{table}.parquet"
        if path.exists():
            pl.read_parquet(path).filter(pl.col("paper") == "expert-ecology").write_parquet(path)
    assert all(file.is_file() for file in draw_figure(name, FIGURES, "smoke", collected, tmp_path, ROOT))


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_caption(name):
    assert len((ROOT / "workflow" / "report" / f"{name}.rst").read_text().split()) > 20


def test_the_issues_figures_and_tables_are_all_there():
    numbers = {name.split("-")[1] for name in FIGURES if name.startswith("a-fig")}
    wanted = ["01", "03", "04a", "04b", "05", "06", "07", "08", *range(10, 20), 22]
    assert numbers >= {f"fig{number}" for number in wanted}
    assert {f"a-table0{number}" for number in (1, 2, 5, 8)} <= set(FIGURES)


def test_an_unknown_figure_names_the_known_ones(tmp_path):
    with pytest.raises(BadInput, match=r"figure 'a-fig99': no such figure; known: a-"):
        draw_figure("a-fig99", FIGURES, "smoke", tmp_path, tmp_path, ROOT)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"runs\.parquet: no such file"):
        draw_figure("b-dead-vs-e", FIGURES, "smoke", tmp_path, tmp_path, ROOT)
    assert not list(tmp_path.rglob("*.png"))
