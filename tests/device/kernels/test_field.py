"""The kernel field against formulas (pan, tilt, roll, walk) and against the forward model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from device.calibration import CameraCalibration
from device.capture.render import render_exposure, render_sharp
from device.capture.timing import FrameTiming
from device.kernels import field as field_module
from device.kernels.field import MIDDLE, POSES, KernelField, SyncError, kernel_field
from device.motion.poses import PoseTrack
from device.motion.rotations import FloatArray, rotation_exp

WIDTH, HEIGHT, FOCAL_PX = 320, 256, 500.0
EXPOSURE_NS = 40_000_000
EXPOSURE_S = EXPOSURE_NS * 1e-9
MID_NS = 10**15
INSTANTS_S = np.linspace(-0.5, 0.5, POSES) * EXPOSURE_S
FLOAT32_PX = 2e-5


def camera(**changes: Any) -> CameraCalibration:
    values: dict[str, Any] = {
        "fx": FOCAL_PX,
        "fy": FOCAL_PX,
        "cx": (WIDTH - 1) / 2,
        "cy": (HEIGHT - 1) / 2,
        "width": WIDTH,
        "height": HEIGHT,
        "distortion_model": "none",
        "distortion_coeffs": (),
        "T_cam_imu": np.eye(4),
        **changes,
    }
    return CameraCalibration(**values)


def timing(line_time_ns: int = 0, row_order: Any = "top_down") -> FrameTiming:
    """Rows 0 and HEIGHT - 1 are exposed evenly before and after MID_NS."""
    first_end_ns = MID_NS + EXPOSURE_NS // 2 - line_time_ns * (HEIGHT - 1) // 2
    return FrameTiming(first_end_ns, EXPOSURE_NS, line_time_ns, row_order, HEIGHT)


def moving(
    rate_rad_s: tuple[float, float, float], velocity_m_s: tuple[float, float, float] = (0, 0, 0)
) -> PoseTrack:
    """The identity at MID_NS, then even turning and walking."""
    t_ns = MID_NS + np.arange(-120, 121, dtype=np.int64) * 1_000_000
    t_s = (t_ns - MID_NS)[:, None] * 1e-9
    return PoseTrack(t_ns, rotation_exp(t_s * np.array(rate_rad_s)), t_s * np.array(velocity_m_s))


def swinging() -> PoseTrack:
    """A shaking hand: six axes out of step, many pixels over a frame with its read-out."""
    t_ns = MID_NS + np.arange(-120, 121, dtype=np.int64) * 1_000_000
    t_s = (t_ns - MID_NS)[:, None] * 1e-9
    phase = np.array([0.3, 1.4, 2.5])
    angle = np.deg2rad([0.5, 0.6, 1.0]) * np.sin(
        2 * np.pi * np.array([7.0, 6.0, 5.0]) * t_s + phase
    )
    return PoseTrack(t_ns, rotation_exp(angle), 0.004 * np.cos(40.0 * t_s + phase))


def at(field: KernelField, u: float, v: float) -> NDArray[np.float32]:
    return field.paths_at(np.array([[u, v]]))[0]


def rotated_pixels(p: FloatArray, turned_rad: FloatArray) -> FloatArray:
    """K R^T K^-1 p for a pan about y by these angles: written out, for the principal row."""
    angle = np.arctan((p[0] - (WIDTH - 1) / 2) / FOCAL_PX) - turned_rad
    return np.asarray((WIDTH - 1) / 2 + FOCAL_PX * np.tan(angle))


def test_a_pan_moves_light_by_f_tan_against_the_turn() -> None:
    """A right-hand turn about y (down) takes the view to the right, so the light goes left."""
    rate = 0.6
    field = kernel_field(moving((0, rate, 0)), camera(), timing(), spacing_px=32)
    for column in (0, 4, 9):
        node = np.array([field.node_u[column], 0.0])
        path = at(field, node[0], (HEIGHT - 1) / 2)
        expected = rotated_pixels(node, rate * INSTANTS_S) - node[0]
        # Rows between the nodes are interpolated; the path bends by 0.01 px over 32 rows.
        assert path[:, 0] == pytest.approx(expected, abs=0.01)
        assert path[-1, 0] < 0 < path[0, 0]


def test_a_tilt_moves_light_with_the_turn() -> None:
    """A right-hand turn about x takes the view up (y to z), so the light goes down."""
    field = kernel_field(moving((0.5, 0, 0)), camera(), timing())
    path = at(field, (WIDTH - 1) / 2, (HEIGHT - 1) / 2)
    assert path[:, 1] == pytest.approx(FOCAL_PX * np.tan(0.5 * INSTANTS_S), abs=0.05)
    assert np.abs(path[:, 0]).max() < 0.01


def test_a_roll_turns_light_about_the_principal_point() -> None:
    rate = 1.2
    field = kernel_field(moving((0, 0, rate)), camera(), timing())
    centre = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
    for column, row in ((0, 0), (3, 1), (5, 4)):
        node = np.array([field.node_u[column], field.node_v[row]])
        away = node - centre
        angle = -rate * INSTANTS_S  # the scene turns against the camera
        turned = np.stack(
            [
                away[0] * np.cos(angle) - away[1] * np.sin(angle),
                away[0] * np.sin(angle) + away[1] * np.cos(angle),
            ],
            axis=1,
        )
        expected = turned - away
        assert field.paths_px[row, column] == pytest.approx(expected, abs=FLOAT32_PX)


def test_a_walk_sideways_moves_light_by_f_v_t_over_depth() -> None:
    velocity, depth_m = (0.10, -0.04, 0.0), 2.0
    field = kernel_field(moving((0, 0, 0), velocity), camera(), timing(), depth_m=depth_m)
    expected = -FOCAL_PX * np.outer(INSTANTS_S, velocity[:2]) / depth_m
    assert field.paths_px == pytest.approx(
        np.broadcast_to(expected, field.paths_px.shape), abs=1e-4
    )


def test_a_walk_forward_spreads_light_from_the_principal_point() -> None:
    speed, depth_m = 0.5, 1.5
    field = kernel_field(moving((0, 0, 0), (0, 0, speed)), camera(), timing(), depth_m=depth_m)
    away = np.array([field.node_u[5] - (WIDTH - 1) / 2, field.node_v[4] - (HEIGHT - 1) / 2])
    expected = np.outer(depth_m / (depth_m - speed * INSTANTS_S) - 1, away)
    assert field.paths_px[4, 5] == pytest.approx(expected, abs=1e-4)


def test_positions_count_only_with_a_depth() -> None:
    field = kernel_field(moving((0, 0, 0), (0.1, 0.1, 0)), camera(), timing())
    assert not field.paths_px.any()


@pytest.mark.parametrize(
    ("model", "coeffs"),
    [("radtan", (-0.28, 0.09, 1e-3, -5e-4)), ("equidistant", (-0.02, 0.004, 0.0, 0.0))],
)
def test_distortion_is_undone_and_done_again(model: str, coeffs: tuple[float, ...]) -> None:
    calibration = camera(distortion_model=model, distortion_coeffs=coeffs)
    rate = np.array([0.2, 0.6, 0.9])
    field = kernel_field(moving((0.2, 0.6, 0.9)), calibration, timing())
    node = np.array([field.node_u[1], field.node_v[3]])
    ray = calibration.pixels_to_rays(node)
    for instant, t_s in enumerate(INSTANTS_S):
        seen = calibration.rays_to_pixels(rotation_exp(-t_s * rate[None])[0] @ ray)
        assert field.paths_px[3, 1, instant] == pytest.approx(seen - node, abs=FLOAT32_PX)


def test_distortion_matters_at_the_edge_and_not_in_the_middle() -> None:
    bent = camera(distortion_model="radtan", distortion_coeffs=(-0.28, 0.09, 0.0, 0.0))
    straight = kernel_field(moving((0, 0.6, 0)), camera(), timing(), spacing_px=16)
    distorted = kernel_field(moving((0, 0.6, 0)), bent, timing(), spacing_px=16)
    apart = np.abs(straight.paths_px - distorted.paths_px).max(axis=(2, 3))
    assert apart[8, 10] < 0.05
    assert apart[0, 0] > 0.5


def test_nodes_beyond_the_lens_model_are_invalid_and_no_others() -> None:
    """The polynomial folds 205 px from the middle: outside the frame, inside the corner nodes."""
    focal_px, fold_px = 400.0, 205.0
    k1 = -1.0 / (3.0 * (1.5 * fold_px / focal_px) ** 2)
    calibration = camera(
        width=300,
        fx=focal_px,
        fy=focal_px,
        cx=149.5,
        distortion_model="radtan",
        distortion_coeffs=(k1, 0.0, 0.0, 0.0),
    )
    field = kernel_field(moving((0, 0.3, 0.1)), calibration, timing(20_000))
    assert np.isfinite(field.paths_px).all()
    assert np.isfinite(field.sigma_px).all()
    radius = np.hypot(field.node_u - 149.5, field.node_v[:, None] - 127.5)
    assert (radius > fold_px).any()
    assert not field.valid[radius > fold_px].any()
    assert field.valid[radius < 0.9 * fold_px].all()


def test_the_middle_of_every_path_is_its_node() -> None:
    field = kernel_field(swinging(), camera(), timing(30_000), depth_m=1.0)
    assert not field.paths_px[:, :, MIDDLE].any()
    assert field.valid.all()


def test_nodes_cover_the_frame_for_any_size() -> None:
    for width, height in ((1, 2), (63, 64), (65, 128), (129, 100)):
        calibration = camera(width=width, height=height)
        frame = FrameTiming(MID_NS, EXPOSURE_NS, 0, "top_down", height)
        field = kernel_field(moving((0, 0.3, 0)), calibration, frame)
        assert field.node_u[0] == field.node_v[0] == 0
        assert width - 1 < field.node_u[-1] < width + 64
        assert height - 1 < field.node_v[-1] < height + 64
        assert field.paths_px.shape == (len(field.node_v), len(field.node_u), POSES, 2)
        assert np.isfinite(field.paths_at(np.array([[width - 1.0, height - 1.0]]))).all()


# Rolling shutter


def test_a_global_shutter_gives_every_row_the_same_instants() -> None:
    """Even sideways motion of a plane: all nodes alike. (A pan differs by its tangent.)"""
    field = kernel_field(moving((0, 0, 0), (0.1, 0, 0)), camera(), timing(), depth_m=1.0)
    assert np.ptp(field.paths_px, axis=(0, 1)).max() < 1e-4


def shaking(frequency_hz: float = 4.0) -> PoseTrack:
    """A small swing about y, whose speed at a moment tells which moment it was."""
    t_ns = MID_NS + np.arange(-240, 241, dtype=np.int64) * 500_000
    t_s = (t_ns - MID_NS)[:, None] * 1e-9
    angle = 0.01 * np.sin(2 * np.pi * frequency_hz * t_s + 0.7)
    return PoseTrack(t_ns, rotation_exp(angle * [0.0, 1.0, 0.0]))


@pytest.mark.parametrize("row_order", ["top_down", "bottom_up"])
def test_every_row_has_its_own_exposure(row_order: str) -> None:
    line_time_ns = 200_000
    field = kernel_field(shaking(), camera(), timing(line_time_ns, row_order))
    for row in (0, 2, 4):
        late_s = (field.node_v[row] - (HEIGHT - 1) / 2) * line_time_ns * 1e-9
        if row_order == "bottom_up":
            late_s = -late_s
        t_s = late_s + INSTANTS_S
        angle = 0.01 * np.sin(2 * np.pi * 4.0 * t_s + 0.7)
        middle = 0.01 * np.sin(2 * np.pi * 4.0 * late_s + 0.7)
        # The column next to the principal point sees f tan of the angle.
        column = 2
        node = np.array([field.node_u[column], 0.0])
        expected = rotated_pixels(node, angle - middle) - node[0]
        assert field.paths_px[row, column, :, 0] == pytest.approx(expected, abs=0.06)


def test_the_row_order_matters() -> None:
    down = kernel_field(shaking(), camera(), timing(200_000, "top_down"))
    up = kernel_field(shaking(), camera(), timing(200_000, "bottom_up"))
    assert np.abs(down.paths_px - up.paths_px).max() > 1.0


@pytest.mark.parametrize("row_order", ["top_down", "bottom_up"])
def test_light_that_falls_on_other_rows_meets_their_exposure(row_order: str) -> None:
    """A tilt along the read-out: its rows are met later (or earlier), so the path stretches.

    In row coordinates the light moves at speed w. At exposure fraction tau of the row it falls on,
    w (tau + shift) with shift = line time x displacement: displacement = w tau / (1 - w line).
    """
    rate, line_time_ns = 1.0, 100_000
    w_px_s = FOCAL_PX * rate
    line_s = line_time_ns * 1e-9 * (1 if row_order == "top_down" else -1)
    field = kernel_field(moving((rate, 0, 0)), camera(), timing(line_time_ns, row_order))
    expected = w_px_s * INSTANTS_S / (1 - w_px_s * line_s)
    # The field's correction is of first order: it takes 1 + x for 1 / (1 - x).
    path = field.paths_px[2, 2, :, 1]
    assert path == pytest.approx(expected, abs=0.06)
    plain = w_px_s * INSTANTS_S
    assert np.abs(plain - expected).max() > 0.4


def dots(places: list[tuple[float, float]], margin: int) -> NDArray[np.float32]:
    """Sharp Gaussian dots on black, as a scene with a margin around the frame."""
    v, u = np.mgrid[: HEIGHT + 2 * margin, : WIDTH + 2 * margin].astype(np.float64) - margin
    light = sum(np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * 1.2**2)) for x, y in places)
    return np.repeat(np.asarray(light)[:, :, None], 3, axis=2).astype(np.float32)


def light_moments(
    picture: NDArray[np.float32], u: float, v: float, reach: int = 30
) -> tuple[FloatArray, FloatArray]:
    """Centre (2,) and covariance (2, 2) of the light around a place."""
    top, left = round(v) - reach, round(u) - reach
    part = picture[top : top + 2 * reach + 1, left : left + 2 * reach + 1, 1].astype(np.float64)
    rows, columns = np.mgrid[top : top + 2 * reach + 1, left : left + 2 * reach + 1]
    places = np.stack([columns.ravel(), rows.ravel()])
    return np.average(places, axis=1, weights=part.ravel()), np.cov(
        places, aweights=np.maximum(part.ravel(), 0.0), bias=True
    )


def path_moments(path: NDArray[np.float32]) -> tuple[FloatArray, FloatArray]:
    """The same of light that dwells equally long on each piece of a path."""
    fraction = (np.arange(20) + 0.5)[:, None, None] / 20
    points = (path[:-1] + fraction * np.diff(path, axis=0)).reshape(-1, 2).astype(np.float64)
    return points.mean(axis=0), np.cov(points.T, bias=True)


def smear_errors_px() -> tuple[list[float], list[float]]:
    """How far, and by what length, smeared dots are from what the field's paths say."""
    margin, places = 60, [(u, v) for u in (60, 160, 260) for v in (50, 130, 210)]
    scene_K = camera().K.copy()
    scene_K[:2, 2] += margin
    scene = dots(places, margin)
    shutter, track = timing(100_000), swinging()
    smeared = render_exposure(scene, scene_K, camera(), shutter, track)
    sharp = render_sharp(scene, scene_K, camera(), shutter, track)
    field = kernel_field(track, camera(), shutter, spacing_px=16)
    offsets, lengths = [], []
    for place in places:
        here, spot = light_moments(sharp, *place)
        there, smear = light_moments(smeared, *place)
        mean, spread = path_moments(at(field, *here))
        offsets.append(float(np.linalg.norm(there - here - mean)))
        # A box of length L has the variance L^2 / 12.
        found, predicted = (np.sqrt(12 * np.trace(part)) for part in (smear - spot, spread))
        lengths.append(float(abs(found - predicted)))
    return offsets, lengths


def test_paths_lie_where_the_forward_model_puts_the_light(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shaking hand against a fast read-out; the correction for the rows gives the lengths."""
    offsets, lengths = smear_errors_px()
    assert max(offsets) < 0.05
    assert max(lengths) < 0.05
    monkeypatch.setattr(field_module, "_follow_the_rows", lambda paths, *rest: paths)
    _, uncorrected = smear_errors_px()
    assert max(uncorrected) > 3 * max(lengths)


# What goes with the paths


def test_lengths_and_extent() -> None:
    field = kernel_field(moving((0, 0, 0), (0.3, 0.4, 0)), camera(), timing(), depth_m=2.0)
    length_px = FOCAL_PX * 0.5 * EXPOSURE_S / 2.0
    assert field.length_px == pytest.approx(np.full(field.valid.shape, length_px), rel=1e-4)
    assert field.extent_px == pytest.approx(FOCAL_PX * 0.4 * EXPOSURE_S / 2.0, rel=1e-4)


def test_the_usual_extent_forgets_a_stray_path() -> None:
    field = kernel_field(moving((0, 0, 0), (0.3, 0.4, 0)), camera(), timing(), depth_m=2.0)
    assert field.usual_extent_px == pytest.approx(field.extent_px, rel=1e-4)
    usual_px = field.extent_px
    field.paths_px[0, 0] *= 20
    assert field.usual_extent_px == pytest.approx(usual_px, rel=1e-4)
    field.valid[:] = False
    assert field.usual_extent_px == 0.0


def test_uncertainty_of_a_still_camera_is_the_bias_alone() -> None:
    rate = np.deg2rad(0.5)
    sync = SyncError(time_s=0.002, rate_rad_s=float(rate), focal=0.01)
    field = kernel_field(moving((0, 0, 0)), camera(), timing(), sync=sync)
    expected = np.sqrt(2.0 * np.mean(np.square(FOCAL_PX * rate * INSTANTS_S)))
    assert field.sigma_px == pytest.approx(np.full(field.valid.shape, expected), rel=1e-5)


def test_uncertainty_of_an_even_pan_has_no_time_in_it() -> None:
    """Shifted in time an even motion is the same motion; a wrong focal length scales it."""
    track = moving((0, 0, 0), (0.2, 0, 0))
    only = {"rate_rad_s": 0.0, "focal": 0.0}
    time = kernel_field(track, camera(), timing(), depth_m=1.0, sync=SyncError(time_s=0.01, **only))
    assert time.sigma_px.max() < 1e-3
    focal = kernel_field(track, camera(), timing(), depth_m=1.0, sync=SyncError(0.0, 0.0, 0.02))
    rms = np.sqrt(np.mean(np.square(FOCAL_PX * 0.2 * INSTANTS_S)))
    assert focal.sigma_px == pytest.approx(np.full(focal.valid.shape, 0.02 * rms), rel=1e-3)


def test_uncertainty_in_time_is_what_a_shifted_log_does() -> None:
    shift_ns = 1_000_000
    track = swinging()
    late = PoseTrack(track.t_ns + shift_ns, track.R_wc, track.centre_m)
    sync = SyncError(time_s=shift_ns * 1e-9, rate_rad_s=0.0, focal=0.0)
    field = kernel_field(track, camera(), timing(), sync=sync)
    shifted = kernel_field(late, camera(), timing())
    actual = np.sqrt(np.square(shifted.paths_px - field.paths_px).sum(-1).mean(-1))
    assert actual.max() > 0.1
    assert field.sigma_px == pytest.approx(actual, rel=0.25, abs=0.02)


def test_rows_without_poses_are_invalid() -> None:
    track = moving((0, 0.3, 0))
    begins_ns = MID_NS - 5_000_000
    keep = track.t_ns >= begins_ns
    field = kernel_field(PoseTrack(track.t_ns[keep], track.R_wc[keep]), camera(), timing(200_000))
    first_ns = timing(200_000).row_mid_ns(field.node_v) - EXPOSURE_NS // 2
    expected = np.repeat((first_ns >= begins_ns)[:, None], len(field.node_u), axis=1)
    assert 0 < expected.sum() < expected.size
    assert np.array_equal(field.valid, expected)


def test_rows_exposed_during_a_gap_are_invalid() -> None:
    gap = (MID_NS - 1_000_000, MID_NS + 1_000_000)
    field = kernel_field(moving((0, 0.3, 0)), camera(), timing(300_000), gaps_ns=(gap,))
    mid_ns = timing(300_000).row_mid_ns(field.node_v)
    first, last = mid_ns - EXPOSURE_NS // 2, mid_ns + EXPOSURE_NS // 2
    clear = (last < gap[0]) | (first > gap[1])
    assert clear[0]
    assert clear[-1]
    assert not clear.all()
    assert np.array_equal(field.valid[:, 0], clear)
    # Between a valid and an invalid node nothing is trusted.
    places = np.stack([np.full(HEIGHT, 5.0), np.arange(HEIGHT, dtype=float)], axis=1)
    cell = np.minimum((np.arange(HEIGHT) // 64), len(clear) - 2)
    below = np.where(np.arange(HEIGHT) % 64 == 0, cell, cell + 1)
    assert np.array_equal(field.valid_at(places), clear[cell] & clear[below])


def test_between_nodes_paths_are_bilinear() -> None:
    field = kernel_field(swinging(), camera(), timing(30_000))
    a, b, c, d = (field.paths_px[j, i] for j in (1, 2) for i in (3, 4))
    u, v = 64 * 3 + 16.0, 64 * 1 + 48.0
    expected = 0.25 * (0.75 * a + 0.25 * b) + 0.75 * (0.75 * c + 0.25 * d)
    assert at(field, u, v) == pytest.approx(expected, abs=1e-5)
    assert field.sigma_at(np.array([[64.0, 128.0]]))[0] == pytest.approx(field.sigma_px[2, 1])


def test_outside_the_nodes_the_outermost_hold() -> None:
    field = kernel_field(swinging(), camera(), timing(30_000))
    assert at(field, -50.0, -3.0) == pytest.approx(field.paths_px[0, 0])
    assert at(field, 1e4, 1e4) == pytest.approx(field.paths_px[-1, -1])


@pytest.mark.parametrize("scale", [0.5, 0.25])
def test_a_reduced_picture_has_the_reduced_field(scale: float) -> None:
    """Equal to the field computed with the reduced camera, at the same places of the scene."""
    track = swinging()
    small = camera().scaled(scale)
    shutter = FrameTiming(timing().first_row_end_ns, EXPOSURE_NS, 0, "top_down", small.height)
    direct = kernel_field(track, small, shutter, spacing_px=16)
    scaled = kernel_field(track, camera(), timing(), spacing_px=16).scaled(scale)
    assert (scaled.width, scaled.height) == (small.width, small.height)
    places = np.array([[10.0, 20.0], [40.3, 33.3], [70.0, 60.0]])
    assert scaled.paths_at(places) == pytest.approx(direct.paths_at(places), abs=0.003)
