"""The chart's dots: found where they are, and matched only by the motion that made them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from device.demo.chart import ChartMatch, find_dots, match_dots
from device.demo.pages import explained_share
from device.demo.pictures import dot_pair, psnr_db, side_by_side
from device.importers.nexus import import_nexus
from device.kernels.field import KernelField
from device.restore.tone import from_linear

WIDTH, HEIGHT = 900, 600
PLACES = [(200.3, 180.0), (700.0, 180.6), (450.0, 420.25)]
DIAMETER_PX = 11.0
NEXUS = Path(__file__).resolve().parents[3] / "device" / "demo_data" / "nexus"


def straight_field(du: float, dv: float) -> KernelField:
    node_u, node_v = np.arange(0.0, WIDTH + 64, 64), np.arange(0.0, HEIGHT + 64, 64)
    paths = np.zeros((len(node_v), len(node_u), 9, 2), np.float32)
    paths += np.linspace(-0.5, 0.5, 9)[:, None] * np.array([du, dv])
    shape = paths.shape[:2]
    return KernelField(
        WIDTH, HEIGHT, node_u, node_v, paths, np.zeros(shape, np.float32), np.ones(shape, bool)
    )


def chart_photo(du: float, dv: float) -> NDArray[np.uint8]:
    """White paper, black squares, white dots that moved along (du, dv) in the exposure."""
    light = np.full((HEIGHT, WIDTH), 0.7, np.float32)
    v, u = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    for place_u, place_v in PLACES:
        light[
            round(place_v) - 70 : round(place_v) + 71, round(place_u) - 70 : round(place_u) + 71
        ] = 0.02
        for share in np.linspace(-0.5, 0.5, 41):
            away = np.hypot(u - place_u - share * du, v - place_v - share * dv)
            light += 0.6 / 41 * np.clip(DIAMETER_PX / 2 - away + 0.5, 0, 1)
    noise = np.random.default_rng(3).normal(0, 0.003, light.shape).astype(np.float32)
    return from_linear(np.repeat((light + noise)[..., None], 3, axis=2), "srgb")


def correlations(match: ChartMatch) -> list[float]:
    return [dot.correlation for dot in match.dots]


def test_dots_are_found_to_a_fraction_of_a_pixel() -> None:
    found = find_dots(chart_photo(9.0, 4.0))
    np.testing.assert_allclose(found, PLACES, atol=0.15)


def test_the_true_motion_matches_and_another_does_not() -> None:
    photo = chart_photo(12.0, 6.0)
    right = match_dots(photo, straight_field(12.0, 6.0))
    assert min(correlations(right)) > 0.99
    assert right.diameter_px == pytest.approx(DIAMETER_PX, abs=1.0)
    assert explained_share(right) > 0.8
    crossed = match_dots(photo, straight_field(6.0, -12.0))
    assert max(correlations(crossed)) < min(correlations(right)) - 0.03
    assert max(dot.still_correlation for dot in right.dots) < min(correlations(right)) - 0.03


def test_a_photograph_without_a_chart_is_refused() -> None:
    with pytest.raises(ValueError, match="no black squares"):
        match_dots(np.full((HEIGHT, WIDTH, 3), 128, np.uint8), straight_field(5.0, 0.0))


def test_the_real_chart_is_explained_by_its_real_gyroscope(tmp_path: Path) -> None:
    """The issue asks for a correlation of 0.8 for 8 dots; measured 0.98 for all 13."""
    from device.bundle import read_bundle
    from device.kernels.field import kernel_field
    from device.motion.frame_motion import frame_motion

    bundle = read_bundle(import_nexus(NEXUS, tmp_path)[0])
    motion = frame_motion(bundle.samples, bundle.calibration, bundle.timing)
    field = kernel_field(motion.track, bundle.calibration, bundle.timing)
    photo = bundle.read_pixels().astype(np.uint8)
    match = match_dots(photo, field)
    assert len(match.dots) == 13
    assert min(correlations(match)) > 0.97
    assert explained_share(match) > 0.7
    mirrored = dataclasses.replace(field, paths_px=field.paths_px * np.array([-1, 1], np.float32))
    assert explained_share(match_dots(photo, mirrored)) < 0.5


def test_pictures_stand_side_by_side_in_their_colours() -> None:
    red, blue = np.zeros((60, 80, 3), np.uint8), np.zeros((60, 80, 3), np.uint8)
    red[..., 0], blue[..., 2] = 200, 200
    both = side_by_side([red, blue], ["red", "blue"])
    assert both.shape == (60, 166, 3)
    assert both[5, 5].tolist() == [200, 0, 0]
    assert both[5, 160].tolist() == [0, 0, 200]


def test_a_pair_shows_dot_and_prediction() -> None:
    match = match_dots(chart_photo(8.0, 0.0), straight_field(8.0, 0.0))
    pair = dot_pair(match.dots[0], side_px=33)
    left, right = pair[:, : 33 * 3], pair[:, 34 * 3 :]
    assert left.shape == right.shape == (99, 99)
    assert cv2.minMaxLoc(left)[1] > 250
    assert cv2.minMaxLoc(right)[1] > 250


def test_psnr_leaves_the_border_out() -> None:
    truth = np.full((100, 120, 3), 100, np.uint8)
    picture = truth + np.uint8(10)
    assert psnr_db(picture, truth) == pytest.approx(28.13, abs=0.01)
    picture[:16], picture[-16:] = 0, 0
    picture[:, :16], picture[:, -16:] = 0, 0
    assert psnr_db(picture, truth) == pytest.approx(28.13, abs=0.01)
