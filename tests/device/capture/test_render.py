"""The forward model against cases that a formula answers."""

from __future__ import annotations

import numpy as np
import pytest

from device.calibration import CameraCalibration
from device.capture.render import Layer, render_exposure, render_sharp
from device.capture.timing import FrameTiming
from device.motion.poses import PoseTrack
from device.motion.rotations import FloatArray, rotation_exp

LENGTH_TOLERANCE_PX = 0.05
PLACE_TOLERANCE_PX = 0.03
WIDTH, HEIGHT, FOCAL_PX = 240, 200, 900.0
MARGIN_PX = 60
EXPOSURE_NS = 40_000_000
MID_NS = 10**15  # an uptime of eleven days: float32 or careless seconds would lose it

Image = np.ndarray


def camera(model: str = "none", coeffs: tuple[float, ...] = ()) -> CameraCalibration:
    return CameraCalibration(
        fx=FOCAL_PX,
        fy=FOCAL_PX,
        cx=(WIDTH - 1) / 2,
        cy=(HEIGHT - 1) / 2,
        width=WIDTH,
        height=HEIGHT,
        distortion_model=model,  # type: ignore[arg-type]
        distortion_coeffs=coeffs,
        T_cam_imu=np.eye(4),
    )


def timing(line_time_ns: int = 0, row_order: str = "top_down") -> FrameTiming:
    """The middle row of the picture is exposed around MID_NS."""
    first_end_ns = MID_NS + EXPOSURE_NS // 2 - line_time_ns * (HEIGHT // 2)
    return FrameTiming(first_end_ns, EXPOSURE_NS, line_time_ns, row_order, HEIGHT)  # type: ignore[arg-type]


def moving(
    rate_rad_s: tuple[float, float, float], speed_m_s: tuple[float, float, float] = (0, 0, 0)
) -> PoseTrack:
    """The identity at MID_NS, then even turning and walking."""
    t_ns = MID_NS + np.arange(-60, 61, dtype=np.int64) * 1_000_000
    t_s = (t_ns - MID_NS)[:, None] * 1e-9
    return PoseTrack(t_ns, rotation_exp(t_s * np.array(rate_rad_s)), t_s * np.array(speed_m_s))


def scene_K() -> FloatArray:
    K = camera().K.copy()
    K[:2, 2] += MARGIN_PX
    return K


def dots(places: list[tuple[float, float]], sigma_px: float = 1.5) -> Image:
    """Gaussian dots at frame coordinates, on black, as a scene with a margin."""
    v, u = np.mgrid[: HEIGHT + 2 * MARGIN_PX, : WIDTH + 2 * MARGIN_PX].astype(np.float64)
    picture = np.zeros(u.shape)
    for x, y in places:
        square = (u - MARGIN_PX - x) ** 2 + (v - MARGIN_PX - y) ** 2
        picture += np.exp(-square / (2 * sigma_px**2))
    return np.repeat(picture[:, :, None], 3, axis=2).astype(np.float32)


def moments(picture: Image) -> tuple[float, float, float, float]:
    """Mean and variance of the light along u and v: (u, v, var_u, var_v)."""
    light = picture[:, :, 1].astype(np.float64)
    v, u = np.mgrid[: light.shape[0], : light.shape[1]]
    mean_u, mean_v = ((light * x).sum() / light.sum() for x in (u, v))
    var_u = (light * (u - mean_u) ** 2).sum() / light.sum()
    var_v = (light * (v - mean_v) ** 2).sum() / light.sum()
    return float(mean_u), float(mean_v), float(var_u), float(var_v)


CENTRE = ((WIDTH - 1) / 2, (HEIGHT - 1) / 2)


@pytest.mark.parametrize("length_px", [3.0, 16.7, 50.0])
@pytest.mark.parametrize("axis", ["u", "v"])
def test_an_even_pan_smears_a_dot_over_a_box_of_the_exact_length(
    length_px: float, axis: str
) -> None:
    angle = 2 * np.arctan(length_px / 2 / FOCAL_PX)
    rate = angle / (EXPOSURE_NS * 1e-9)
    track = moving((0, rate, 0) if axis == "u" else (rate, 0, 0))
    scene = dots([CENTRE])
    smeared = moments(render_exposure(scene, scene_K(), camera(), timing(), track))
    sharp = moments(render_sharp(scene, scene_K(), camera(), timing(), track))
    along, across = (2, 3) if axis == "u" else (3, 2)
    assert np.sqrt(12 * (smeared[along] - sharp[along])) == pytest.approx(
        length_px, abs=LENGTH_TOLERANCE_PX
    )
    assert smeared[across] == pytest.approx(sharp[across], abs=0.01)
    assert smeared[:2] == pytest.approx(CENTRE, abs=PLACE_TOLERANCE_PX)


def test_an_even_pan_turns_an_edge_into_a_ramp_of_the_exact_length() -> None:
    length_px, edge_u = 20.0, 120.25
    u = np.arange(WIDTH + 2 * MARGIN_PX) - MARGIN_PX
    soft_px = 1.0  # a step wider than a pixel, so that sampling does not alias it
    step = np.clip((u - edge_u) / soft_px + 0.5, 0, 1)
    scene = np.tile(step[None, :, None], (HEIGHT + 2 * MARGIN_PX, 1, 3)).astype(np.float32)
    rate = 2 * np.arctan(length_px / 2 / FOCAL_PX) / (EXPOSURE_NS * 1e-9)
    row = render_exposure(scene, scene_K(), camera(), timing(), moving((0, rate, 0)))[
        HEIGHT // 2, :, 1
    ].astype(np.float64)
    # The slope of the ramp is the PSF: its second moment is that of the box and of the step.
    slope = np.diff(row)
    place = np.arange(len(slope)) + 0.5
    mean = (slope * place).sum() / slope.sum()
    variance = (slope * (place - mean) ** 2).sum() / slope.sum()
    still = render_sharp(scene, scene_K(), camera(), timing(), moving((0, 0, 0)))
    slope_still = np.diff(still[HEIGHT // 2, :, 1].astype(np.float64))
    mean_still = (slope_still * place).sum()
    variance_still = (slope_still * (place - mean_still) ** 2).sum()
    assert np.sqrt(12 * (variance - variance_still)) == pytest.approx(
        length_px, abs=LENGTH_TOLERANCE_PX
    )
    # Box, not just its width: the ramp's middle has the slope 1 / length.
    assert slope[115:125] == pytest.approx(np.full(10, 1 / length_px), rel=0.02)


def test_a_turn_to_the_right_moves_the_picture_to_the_left() -> None:
    track = moving((0.0, 0.5, 0.0))
    late = FrameTiming(MID_NS + 40_000_000, EXPOSURE_NS, 0, "top_down", HEIGHT)
    u, v, _, _ = moments(render_sharp(dots([CENTRE]), scene_K(), camera(), late, track))
    assert u == pytest.approx(CENTRE[0] - FOCAL_PX * np.tan(0.5 * 0.020), abs=PLACE_TOLERANCE_PX)
    assert v == pytest.approx(CENTRE[1], abs=PLACE_TOLERANCE_PX)


def test_a_roll_smears_a_dot_along_its_circle() -> None:
    rate, radius_px = 2.0, 80.0
    angle = rate * EXPOSURE_NS * 1e-9
    scene = dots([(CENTRE[0] + radius_px, CENTRE[1])])
    track = moving((0, 0, rate))
    smeared = moments(render_exposure(scene, scene_K(), camera(), timing(), track))
    sharp = moments(render_sharp(scene, scene_K(), camera(), timing(), track))
    # An arc: x = r cos, y = r sin of an even angle in +-angle/2.
    variance_v = radius_px**2 * (1 - np.sin(angle) / angle) / 2
    assert smeared[3] - sharp[3] == pytest.approx(variance_v, rel=2 * 0.05 / 6.4)
    mean_u = radius_px * np.sin(angle / 2) / (angle / 2)
    assert smeared[0] - CENTRE[0] == pytest.approx(mean_u, abs=PLACE_TOLERANCE_PX)


@pytest.mark.parametrize("row_order", ["top_down", "bottom_up"])
def test_the_rolling_shutter_skews_a_vertical_line_as_its_rows_are_read(row_order: str) -> None:
    line_time_ns, rate = 100_000, 0.8
    places = [(CENTRE[0], y) for y in (30.0, 100.0, 170.0)]
    timed = timing(line_time_ns, row_order)
    track = moving((0, rate, 0))
    sharp = render_sharp(dots(places), scene_K(), camera(), timed, track)
    for _, y in places:
        row = sharp[round(y), :, 1].astype(np.float64)
        seen = (row * np.arange(WIDTH)).sum() / row.sum()
        since_s = (float(timed.row_mid_ns(round(y))) - MID_NS) * 1e-9
        expected = CENTRE[0] - FOCAL_PX * np.tan(rate * since_s)
        assert seen == pytest.approx(expected, abs=PLACE_TOLERANCE_PX)


def test_translation_smears_by_focal_length_over_depth() -> None:
    depth_m, speed_m_s = 1.5, 0.4
    track = moving((0, 0, 0), (speed_m_s, 0, 0))
    scene = dots([CENTRE])
    sharp = moments(render_sharp(scene, scene_K(), camera(), timing(), track, depth_m=depth_m))
    near = moments(render_exposure(scene, scene_K(), camera(), timing(), track, depth_m=depth_m))
    length_px = FOCAL_PX * speed_m_s * EXPOSURE_NS * 1e-9 / depth_m
    assert np.sqrt(12 * (near[2] - sharp[2])) == pytest.approx(length_px, abs=LENGTH_TOLERANCE_PX)
    far = moments(render_exposure(scene, scene_K(), camera(), timing(), track))
    assert far[2] == pytest.approx(sharp[2], abs=1e-3)


def test_walking_towards_the_scene_enlarges_it() -> None:
    depth_m, radius_px = 2.0, 80.0
    track = moving((0, 0, 0), (0, 0, 5.0))
    late = FrameTiming(MID_NS + 40_000_000, EXPOSURE_NS, 0, "top_down", HEIGHT)
    scene = dots([(CENTRE[0] + radius_px, CENTRE[1])])
    u = moments(render_sharp(scene, scene_K(), camera(), late, track, depth_m=depth_m))[0]
    assert u - CENTRE[0] == pytest.approx(radius_px * 2.0 / 1.9, abs=PLACE_TOLERANCE_PX)


def test_lens_distortion_moves_a_point_as_the_calibration_says() -> None:
    bent = camera("radtan", (-0.3, 0.1, 0.001, -0.002))
    place = np.array([CENTRE[0] + 90, CENTRE[1] - 70])
    ray = np.array([*((place - CENTRE) / FOCAL_PX), 1.0])
    picture = render_sharp(
        dots([(float(place[0]), float(place[1]))]), scene_K(), bent, timing(), moving((0, 0, 0))
    )
    u, v, _, _ = moments(picture)
    assert [u, v] == pytest.approx(bent.rays_to_pixels(ray), abs=PLACE_TOLERANCE_PX)


def test_a_layer_fixed_to_the_camera_stays_sharp_over_the_smeared_scene() -> None:
    rng = np.random.default_rng(1)
    scene = rng.random((HEIGHT + 2 * MARGIN_PX, WIDTH + 2 * MARGIN_PX, 3), np.float32)
    picture = rng.random((HEIGHT, WIDTH, 3), np.float32)
    alpha = np.zeros((HEIGHT, WIDTH), np.float32)
    alpha[50:150, 60:180] = 1
    alpha[50:150, 180:200] = 0.5
    args = (scene, scene_K(), camera(), timing(50_000), moving((0.2, 0.5, 1.0)))
    plain = render_exposure(*args)
    covered = render_exposure(*args, layers=[Layer(picture, alpha)])
    weight = alpha[:, :, None]
    np.testing.assert_allclose(covered, plain * (1 - weight) + picture * weight, atol=1e-5)


def test_a_layer_with_a_track_of_its_own_is_smeared_by_that_track_only() -> None:
    size = (HEIGHT + 2 * MARGIN_PX, WIDTH + 2 * MARGIN_PX)
    black = np.zeros((*size, 3), np.float32)
    blob = dots([CENTRE])
    own, length_px = moving((0.0, 0.3, 0.0)), FOCAL_PX * 0.3 * EXPOSURE_NS * 1e-9
    layer = Layer(np.ones_like(black), blob[:, :, 0], own)
    args = (black, scene_K(), camera(), timing(), moving((2.0, 0.0, 0.0)))
    smeared = moments(render_exposure(*args, layers=[layer]))
    sharp = moments(render_sharp(*args, layers=[layer]))
    assert np.sqrt(12 * (smeared[2] - sharp[2])) == pytest.approx(
        length_px, abs=LENGTH_TOLERANCE_PX
    )
    assert smeared[3] == pytest.approx(sharp[3], abs=0.01)


def test_an_even_scene_stays_even() -> None:
    scene = np.full((HEIGHT, WIDTH, 3), 0.37, np.float32)
    seen = render_exposure(scene, camera().K, camera(), timing(30_000), moving((1, 1, 1)))
    np.testing.assert_allclose(seen, 0.37, rtol=1e-4)


def test_what_cannot_be_rendered_is_refused() -> None:
    scene = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    away = PoseTrack(moving((0, 0, 0)).t_ns, rotation_exp(np.tile([0.0, 2.0, 0.0], (121, 1))))
    with pytest.raises(ValueError, match="90 degrees"):
        render_sharp(scene, scene_K(), camera(), timing(), away)
    through = moving((0, 0, 0), (0, 0, 100.0))
    with pytest.raises(ValueError, match="through the scene"):
        render_exposure(scene, scene_K(), camera(), timing(), through, depth_m=0.5)
    with pytest.raises(ValueError, match="rows"):
        render_sharp(scene, scene_K(), camera(), FrameTiming(MID_NS, 1, 0, "top_down", 7), through)
