"""Three figures against pictures of them: dots and intervals, lines and bands, a heat map.

The pictures in tests/figures/baseline are half the size of what is drawn. Made again, after a change that is meant to
alter figures and a look at the new ones, with: python tests/figures/test_picture_regression.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from moe_replication.config.analysis import analysis_settings
from moe_replication.figures import baselines, ecology, loss, style
from moe_replication.figures.paper_values import SCHEMA
from moe_replication.figures.style import FigureInfo

HERE = Path(__file__).parent
BASELINE = HERE / "baseline"
# Another version of matplotlib may shade the edges of letters and lines otherwise; a dot that moved by its own width
# or took another colour changes the tile that it lies in by several times this much.
TOLERANCE = 12.0  # root mean square over the worst tile, in levels of 255
TILE = 16  # pixels: two dots wide
CONDITIONS = {"dense": "dense", "tc-aux": "token_choice", "tc-loss-free": "token_choice", "et": "expert_threshold"}
LOSSES = {"dense": 3.60, "tc-aux": 3.55, "tc-loss-free": 3.56, "et": 3.53}


def runs() -> pl.DataFrame:
    """Final losses of four conditions of paper A with three seeds."""
    rows = [
        {"paper": "expert-threshold", "condition": name, "title": name.upper(), "rule": rule, "seed": seed}
        | {"val_loss": LOSSES[name] + 0.01 * ((seed * 7 + number * 3) % 5), "tokens_per_second": 1000.0}
        for number, (name, rule) in enumerate(CONDITIONS.items())
        for seed in range(3)
    ]
    return pl.DataFrame(rows).with_columns(parameters_active=pl.lit(1_000_000))


def curves() -> pl.DataFrame:
    """Losses that fall to those of runs()."""
    steps = pl.DataFrame({"tokens": range(10_000, 400_001, 30_000)})
    fall = 2.0 * (-pl.col("tokens") / 100_000).exp()
    wave = 0.02 * (pl.col("tokens") / 30_000 + 2 * pl.col("seed")).sin()
    made = runs().join(steps, how="cross").with_columns(val_loss=pl.col("val_loss") + fall + wave)
    return made.with_columns(train_loss=pl.col("val_loss") - 0.02 + wave)


def experts() -> pl.DataFrame:
    """Use of eight experts in two tiers over six epochs: one dies, one comes back."""
    rows = [(epoch, expert) for epoch in range(1, 7) for expert in range(8)]
    dead = ((pl.col("expert") == 2) & (pl.col("epoch") > 3)) | ((pl.col("expert") == 6) & (pl.col("epoch") < 5))
    return pl.DataFrame(rows, schema=["epoch", "expert"], orient="row").with_columns(
        paper=pl.lit("expert-ecology"), condition=pl.lit("v1"), seed=pl.lit(0), layer=pl.lit(0),
        epoch=pl.col("epoch").cast(pl.Float64), tier=pl.col("expert") // 4,
        usage=pl.when(dead).then(0.002).otherwise(0.02 * (1 + pl.col("expert"))),
    )  # fmt: skip


TABLES = {"runs": runs, "curves": curves, "experts": experts}
PICTURES = {"dots": baselines.draw, "lines": loss.draw_curves, "heat-map": ecology.draw_usage}


def draw(name: str, folder: Path, **changed: pl.DataFrame) -> Path:
    """Draw one of PICTURES into `folder`, with other tables where given; the path of its PNG."""
    values = [{"condition": "et", "value": 2.84}, {"condition": "tc-aux", "value": 2.87}]
    known = {"paper": "expert-threshold", "metric": "val_loss", "label": "paper", "place": "A, Table 1"}
    paper = pl.DataFrame([dict.fromkeys(SCHEMA) | known | value for value in values], schema=SCHEMA)
    info = FigureInfo(scale="cpu", analysis=analysis_settings(HERE.parents[1]), paper_values=paper)
    PICTURES[name]({table: make() for table, make in TABLES.items()} | changed, info, folder / name)
    return folder / f"{name}.png"


def half(picture: Path) -> Image.Image:
    """The picture at half its size."""
    with Image.open(picture) as full:
        return full.convert("RGB").reduce(2)


def worst_tile(first: Image.Image, second: Image.Image) -> float:
    """Root mean square difference of the tile of TILE x TILE pixels in which two pictures differ most, 0 to 255."""
    if first.size != second.size:
        return 255.0
    square = (np.asarray(first, dtype=float) - np.asarray(second, dtype=float)) ** 2
    edges = [-size % TILE for size in square.shape[:2]]
    padded = np.pad(square.mean(axis=2), [(0, edge) for edge in edges])
    tiles = padded.reshape(padded.shape[0] // TILE, TILE, padded.shape[1] // TILE, TILE)
    return float(np.sqrt(tiles.mean(axis=(1, 3)).max()))


def difference(picture: Path) -> float:
    """How far a drawn picture is from its baseline."""
    with Image.open(BASELINE / picture.name) as baseline:
        return worst_tile(half(picture), baseline.convert("RGB"))


@pytest.mark.parametrize("name", PICTURES)
def test_a_figure_looks_as_it_did(tmp_path, name):
    assert difference(draw(name, tmp_path)) <= TOLERANCE


def _moved(column: str, where: pl.Expr, by: float) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda table: table.with_columns(pl.when(where).then(pl.col(column) + by).otherwise(pl.col(column)))


@pytest.mark.parametrize(
    ("name", "table", "change"),
    [
        ("dots", "runs", _moved("val_loss", (pl.col("condition") == "et") & (pl.col("seed") == 1), 0.006)),
        ("lines", "curves", _moved("val_loss", pl.col("condition") == "dense", 0.04)),
        ("heat-map", "experts", _moved("usage", (pl.col("expert") == 5) & (pl.col("epoch") == 2), 0.1)),
    ],
)
def test_a_moved_marker_line_or_cell_shows(tmp_path, name, table, change):
    assert difference(draw(name, tmp_path, **{table: change(TABLES[table]())})) > TOLERANCE


@pytest.mark.parametrize("name", ["dots", "lines"])
def test_another_colour_of_one_condition_shows(tmp_path, monkeypatch, name):
    look = style.CONDITION_LOOKS["tc-loss-free" if name == "dots" else "et"]
    for condition, known in style.CONDITION_LOOKS.items():
        if known == look:
            other = style.Look(colour=style.ORANGE, marker=look.marker, line=look.line)
            monkeypatch.setitem(style.CONDITION_LOOKS, condition, other)
    assert difference(draw(name, tmp_path)) > TOLERANCE


def test_a_filled_marker_of_the_papers_shows(tmp_path, monkeypatch):
    monkeypatch.setitem(style.OPEN, "markerfacecolor", style.BLACK)
    assert difference(draw("dots", tmp_path)) > TOLERANCE


def test_faint_noise_does_not_count_and_another_size_does(tmp_path):
    with Image.open(BASELINE / "dots.png") as baseline:
        noise = np.random.default_rng(0).normal(0, 6, (*baseline.size[::-1], 3))
        noisy = Image.fromarray(np.clip(np.asarray(baseline.convert("RGB")) + noise, 0, 255).astype(np.uint8))
        assert 1 < worst_tile(noisy, baseline.convert("RGB")) <= TOLERANCE
        assert worst_tile(noisy.crop((0, 0, 100, 100)), baseline.convert("RGB")) == 255


def test_the_worst_tile_by_hand():
    """One white pixel of 16 x 16 black ones: sqrt(255^2 / 256) = 255 / 16, wherever it lies."""
    black, dot = Image.new("RGB", (40, 24)), Image.new("RGB", (40, 24))
    dot.putpixel((39, 23), (255, 255, 255))
    assert worst_tile(black, dot) == pytest.approx(255 / 16)
    assert worst_tile(black, black) == 0


def test_png_pdf_and_csv_are_the_same_bytes_in_another_process(tmp_path):
    for name in PICTURES:
        draw(name, tmp_path / "here")
    code = (
        f"import pathlib, runpy; made = runpy.run_path({__file__!r})\n"
        f"for name in made['PICTURES']: made['draw'](name, pathlib.Path({str(tmp_path / 'there')!r}))"
    )
    elsewhere = os.environ | {"PYTHONHASHSEED": "7", "TZ": "UTC-9", "SOURCE_DATE_EPOCH": "86400", "LC_ALL": "C"}
    subprocess.run([sys.executable, "-c", code], check=True, env=elsewhere)
    files = sorted(path.name for path in (tmp_path / "here").iterdir())
    assert files == sorted(f"{name}.{kind}" for name in PICTURES for kind in ("csv", "pdf", "png"))
    for file in files:
        assert (tmp_path / "here" / file).read_bytes() == (tmp_path / "there" / file).read_bytes(), file


if __name__ == "__main__":
    import tempfile

    BASELINE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for picture in PICTURES:
            half(draw(picture, Path(folder))).save(BASELINE / f"{picture}.png", optimize=True)
