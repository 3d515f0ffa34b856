"""Parts of the pages: turning, cropping, embedding, numbers."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from device import page

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_is_what_a_viewer_shows(orientation: int) -> None:
    picture = RNG.integers(0, 255, (4, 6, 3), dtype=np.uint8)
    image = Image.fromarray(picture)
    image.getexif()[274] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(page.upright(picture, orientation), expected)


def test_details_are_where_the_texture_is() -> None:
    picture = np.full((400, 600, 3), 90, np.uint8)
    picture[250:350, 420:560] = RNG.integers(0, 255, (100, 140, 1), dtype=np.uint8)
    (rows, columns), *_ = page.detail_spots(picture, (100, 140), 2)
    assert abs(rows.start - 250) <= 4
    assert abs(columns.start - 420) <= 4


@pytest.mark.parametrize("size", [(480, 640), (31, 17), (99, 640)])
def test_details_fit_pictures_of_any_size_and_do_not_overlap(size: tuple[int, int]) -> None:
    picture = RNG.integers(0, 255, (*size, 3), dtype=np.uint8)
    covered = np.zeros(size, int)
    spots = page.detail_spots(picture, (100, 140), 3)
    assert spots
    for rows, columns in spots:
        height, width = covered[rows, columns].shape
        assert (height, width) == (min(100, size[0]), min(140, size[1]))
        covered[rows, columns] += 1
    assert covered.max() == 1


def test_a_data_uri_holds_the_picture() -> None:
    picture = RNG.integers(0, 255, (5, 7, 3), dtype=np.uint8)
    kind, _, data = page.data_uri(picture, quality=0).partition(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        np.testing.assert_array_equal(np.asarray(image), picture)


def test_shrink_keeps_small_pictures() -> None:
    picture = np.zeros((30, 60, 3), np.uint8)
    assert page.shrink(picture, 100) is picture
    assert page.shrink(picture, 20).shape == (10, 20, 3)


def test_numbers_carry_their_units() -> None:
    report = {
        "motion": {"blur_px_median": 12.3456, "bias_source": "still", "gyro_rate_hz": 199.97},
        "guard": {"kept_share": 0.8754},
        "model": None,
    }
    assert page.number_rows(report, ("motion", "guard", "model", "absent")) == [
        ("motion: blur median", "12.35 px"),
        ("motion: bias source", "still"),
        ("motion: gyro rate", "200 Hz"),
        ("guard: kept share", "87.5 %"),
    ]
