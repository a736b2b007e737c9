"""Pictures inside a page: they shrink until all together fit, and what cannot be read is named."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from moe_replication.errors import BadInput
from moe_replication.report.captions import caption_html
from moe_replication.report.pictures import PAGE_BYTES, PICTURE_BYTES, pictures

ADDRESS_LIMIT = 2 * 1024 * 1024  # Chromium's, for the address of a frame


@pytest.fixture
def noise(tmp_path):
    """Two pictures that compress badly, 1400 x 200 pixels."""
    generator = np.random.default_rng(0)
    files = {}
    for name in ("first", "second"):
        files[name] = tmp_path / f"{name}.png"
        Image.fromarray(generator.integers(0, 255, (200, 1400, 3), dtype=np.uint8)).save(files[name])
    return files


def test_limits_leave_room_for_both_base64_codings():
    assert PAGE_BYTES * 4 / 3 < ADDRESS_LIMIT
    assert PICTURE_BYTES * 4 / 3 < PAGE_BYTES * 0.8


def test_pictures_that_fit_keep_every_pixel(noise):
    found = pictures(noise, budget=10_000_000)["first"]
    assert (found.width, found.height) == (1400, 200)
    stored, drawn = (np.asarray(Image.open(source)) for source in (io.BytesIO(found.content), noise["first"]))
    assert (stored == drawn).all()


def test_too_many_bytes_narrow_every_picture_in_proportion(noise):
    whole = sum(len(picture.content) for picture in pictures(noise, budget=10_000_000).values())
    found = pictures(noise, budget=whole // 8)
    assert sum(len(picture.content) for picture in found.values()) <= whole // 8
    assert {picture.width for picture in found.values()} < {1100, 900, 700}
    assert all(picture.height == round(200 * picture.width / 1400) for picture in found.values())


def test_equal_pictures_give_equal_bytes(noise):
    assert pictures(noise) == pictures(noise)


def test_unreadable_picture_is_named(tmp_path):
    (tmp_path / "broken.png").write_text("no picture", encoding="utf-8")
    with pytest.raises(BadInput, match=r"broken\.png: not a readable picture"):
        pictures({"broken": tmp_path / "broken.png"})


def test_caption_follows_the_scale_and_refuses_what_is_not_there(tmp_path):
    folder = tmp_path / "workflow/report"
    folder.mkdir(parents=True)
    text = 'At ``{{ snakemake.config["scale"] }}``{% if snakemake.config["scale"] == "paper" %}, whole{% endif %}.'
    (folder / "a.rst").write_text(text, encoding="utf-8")
    (folder / "b.rst").write_text("{{ nothing.there }}", encoding="utf-8")
    assert "whole" in caption_html(tmp_path, "paper", "a")
    small = caption_html(tmp_path, "demo", "a")
    assert "demo" in small
    assert "whole" not in small
    with pytest.raises(BadInput, match=r"b\.rst: 'nothing' is undefined"):
        caption_html(tmp_path, "demo", "b")
    with pytest.raises(BadInput, match=r"c\.rst: no such file"):
        caption_html(tmp_path, "demo", "c")
