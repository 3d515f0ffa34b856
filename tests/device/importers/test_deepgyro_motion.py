"""DeepGyro's axes and time shift against its pictures: patches matched from frame to frame."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from device.bundle import Bundle, read_bundle
from device.importers.deepgyro import import_deepgyro
from device.motion.integrate import integrate_rates
from device.motion.poses import PoseTrack

Floats = NDArray[np.floating[Any]]
PATCH, STEP, REACH_U, REACH_V = 160, 80, 260, 50
ALIKE = 0.93


@pytest.fixture(scope="module")
def bundles(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    source = shared_data / "gyro_blur" / "deepgyro_raw"
    return [read_bundle(path) for path in import_deepgyro(source, tmp_path_factory.mktemp("dg"))]


@pytest.fixture(scope="module")
def matches(bundles: list[Bundle]) -> list[Floats]:
    """For every pair of frames, rows (u, v, du, dv) of the patches found again."""
    pictures = [cv2.cvtColor(bundle.read_pixels(), cv2.COLOR_RGB2GRAY) for bundle in bundles]
    return [_match(a, b) for a, b in pairwise(pictures)]


def _match(a: Any, b: Any) -> Floats:
    found = []
    for v in range(60, a.shape[0] - PATCH - 60, STEP):
        for u in range(REACH_U + 10, a.shape[1] - PATCH - 10, STEP):
            patch = a[v : v + PATCH, u : u + PATCH]
            around = b[v - REACH_V : v + PATCH + REACH_V, u - REACH_U : u + PATCH + 40]
            if patch.std() < 8:
                continue
            score = cv2.matchTemplate(around, patch, cv2.TM_CCOEFF_NORMED)
            _, best, _, (du, dv) = cv2.minMaxLoc(score)
            inside = 0 < du < score.shape[1] - 1 and 0 < dv < score.shape[0] - 1
            if best > ALIKE and inside:
                centre = (PATCH - 1) / 2
                found.append((u + centre, v + centre, du - REACH_U, dv - REACH_V))
    return np.array(found, dtype=np.float64)


def _unexplained(
    bundles: list[Bundle], matches: list[Floats], shift_s: float, R_ci: Floats
) -> list[Floats]:
    """Median (du, dv) of every pair that the integrated gyroscope does not explain."""
    samples = bundles[1].samples
    track = PoseTrack(samples.t_ns, integrate_rates(samples.t_ns, samples.gyro_rad_s) @ R_ci.T)
    left: list[Floats] = []
    for (first, second), match in zip(pairwise(bundles), matches, strict=True):
        p, q = match[:, :2], match[:, :2] + match[:, 2:]
        before = track.rotation_at(first.timing.row_mid_ns(p[:, 1]) + round(shift_s * 1e9))
        after = track.rotation_at(second.timing.row_mid_ns(q[:, 1]) + round(shift_s * 1e9))
        rays = np.swapaxes(after, -1, -2) @ before @ first.calibration.pixels_to_rays(p)[..., None]
        left.append(np.median(q - first.calibration.rays_to_pixels(rays[..., 0]), axis=0))
    return left


def test_the_axes(bundles: list[Bundle], matches: list[Floats]) -> None:
    calibration = bundles[0].calibration
    shift_s = calibration.timeshift_s
    for (du, dv), match in zip(
        _unexplained(bundles, matches, shift_s, calibration.R_ci), matches, strict=True
    ):
        assert len(match) > 50
        # The hand swings the tablet on an arc: what is left of 220 px is parallax.
        assert abs(du) < 0.2 * abs(np.median(match[:, 2]))
        assert abs(dv) < 5
    for wrong in (np.diag([-1.0, -1.0, 1.0]), np.diag([1.0, -1.0, -1.0])):
        left = _unexplained(bundles, matches, shift_s, wrong @ calibration.R_ci)
        assert max(float(np.abs(pair).max()) for pair in left) > 20


def test_the_sign_of_the_time_shift(bundles: list[Bundle], matches: list[Floats]) -> None:
    """Parallax changes slowly: the vertical rest must be alike in all three pairs."""
    calibration = bundles[0].calibration
    spread = [
        float(np.ptp([dv for _, dv in _unexplained(bundles, matches, shift_s, calibration.R_ci)]))
        for shift_s in (calibration.timeshift_s, -calibration.timeshift_s)
    ]
    assert spread[0] < 1.5
    assert spread[1] > 3
