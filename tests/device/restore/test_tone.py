"""Tone curves: every code there and back, and the curve that IEC 61966-2-1 defines."""

from __future__ import annotations

import numpy as np
import pytest

from device.capture.camera import GammaCurve, Tone
from device.restore.tone import coded, decode, decoded, encode, from_linear, to_linear

S_CURVE = GammaCurve(((0.0, 0.0), (0.01, 0.08), (0.2, 0.5), (0.6, 0.9), (1.0, 1.0)))
GAMMA = GammaCurve(tuple((float(x), float(x ** (1 / 2.2))) for x in np.linspace(0, 1, 65) ** 2))
LIFTED = GammaCurve(((0.0, 0.1), (0.5, 0.7), (1.0, 0.9)))
PLATEAU = GammaCurve(((0.0, 0.0), (0.3, 0.6), (0.5, 0.6), (1.0, 1.0)))
TONES: list[Tone] = ["linear", "srgb", S_CURVE, GAMMA]
ALL_CODES = np.arange(256, dtype=np.uint8)


@pytest.mark.parametrize("tone", TONES, ids=["linear", "srgb", "s-curve", "gamma"])
def test_every_code_survives_the_way_to_light_and_back(tone: Tone) -> None:
    assert np.array_equal(from_linear(to_linear(ALL_CODES, tone), tone), ALL_CODES)


@pytest.mark.parametrize("tone", TONES, ids=["linear", "srgb", "s-curve", "gamma"])
def test_curve_and_inverse_undo_each_other(tone: Tone) -> None:
    light = np.linspace(0.0, 1.0, 1001)
    assert decode(encode(light, tone), tone) == pytest.approx(light, abs=1e-7)


@pytest.mark.parametrize("tone", TONES, ids=["linear", "srgb", "s-curve", "gamma"])
def test_the_curve_by_table_is_the_curve(tone: Tone) -> None:
    light = np.random.default_rng(3).uniform(-0.1, 1.1, 4000).astype(np.float32)
    inside = np.clip(light, 0.0, 1.0)
    assert coded(light, tone) == pytest.approx(encode(inside, tone), abs=2e-4)
    assert decoded(light, tone) == pytest.approx(decode(inside, tone), abs=1e-4)


@pytest.mark.parametrize("tone", TONES, ids=["linear", "srgb", "s-curve", "gamma"])
def test_black_is_black_and_white_is_white(tone: Tone) -> None:
    light = to_linear(ALL_CODES, tone)
    assert light.dtype == np.float32
    assert (light[0], light[255]) == (0.0, 1.0)
    assert (np.diff(light) > 0).all()


def test_a_curve_that_uses_part_of_the_codes() -> None:
    """Codes the curve never gives are taken for its nearest end."""
    light = to_linear(ALL_CODES, LIFTED)
    assert (light[:25] == 0.0).all()
    assert (light[231:] == 1.0).all()
    used = ALL_CODES[26:230]
    assert np.array_equal(from_linear(to_linear(used, LIFTED), LIFTED), used)


def test_a_flat_part_of_the_curve_keeps_its_code() -> None:
    assert np.array_equal(from_linear(to_linear(ALL_CODES, PLATEAU), PLATEAU), ALL_CODES)


@pytest.mark.parametrize(
    ("code", "light"),
    [
        (0, 0.0),
        (10, 0.0030353),
        (11, 0.0033465),
        (55, 0.0382044),
        (128, 0.2158605),
        (188, 0.5028865),
    ],
)
def test_srgb_is_the_standards(code: int, light: float) -> None:
    """Values of the standard's two branches, and either side of where they meet."""
    assert to_linear(np.array([code], np.uint8), "srgb")[0] == pytest.approx(light, abs=1e-7)


def test_a_camera_curve_is_linear_between_its_points() -> None:
    light = np.array([0.0, 0.005, 0.105, 0.4, 0.8])
    assert encode(light, S_CURVE) == pytest.approx([0.0, 0.04, 0.29, 0.7, 0.95])


def test_the_nearest_code_is_chosen() -> None:
    rng = np.random.default_rng(0)
    # Most of it dark, where the curve is steep.
    light = (rng.uniform(0.0, 1.0, 20_000) ** 4).astype(np.float32)
    exact = 255.0 * encode(light.astype(np.float64), "srgb")
    # The table's step is 0.05 codes at the foot of the curve.
    assert np.abs(from_linear(light, "srgb") - exact).max() <= 0.5 + 0.03


def test_what_is_darker_than_black_or_brighter_than_white_is_clipped() -> None:
    light = np.array([[-0.5, -1e-6], [1.0 + 1e-6, 7.0]], np.float32)
    assert from_linear(light, "srgb").tolist() == [[0, 0], [255, 255]]
    assert light.tolist() == np.array([[-0.5, -1e-6], [1.0 + 1e-6, 7.0]], np.float32).tolist()


def test_sixteen_bits_use_their_whole_range() -> None:
    codes = np.array([0, 257 * 128, 65535], np.uint16)
    eight = to_linear(np.array([0, 128, 255], np.uint8), "srgb")
    assert to_linear(codes, "srgb") == pytest.approx(eight, abs=1e-6)


def test_shapes_are_kept() -> None:
    codes = np.zeros((2, 3, 4), np.uint8)
    assert to_linear(codes, "srgb").shape == (2, 3, 4)
    assert from_linear(np.zeros((2, 3, 4), np.float32), "srgb").shape == (2, 3, 4)
