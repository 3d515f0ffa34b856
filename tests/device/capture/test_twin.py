from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device.capture.camera import Camera, NoiseModel
from device.capture.develop import develop, noise_at_gain
from device.capture.scene import (
    DEMO_MOTION,
    DEMO_PHOTOGRAPH,
    read_photograph,
    scene_for,
    simulated_calibration,
)
from device.capture.twin import TwinCamera, TwinSettings, imu_function
from device.errors import CameraError, InputError
from device.motion.integrate import integrate_rates
from device.motion.recordings import read_recordings
from device.motion.rotations import rotation_log
from device.motion.sources import HandShake, Still
from device.restore.tone import from_linear, to_linear

WIDTH, HEIGHT = 160, 120
QUIET = NoiseModel(0.0, 0.0)


class FakeClock:
    """Time passes only when somebody waits for it."""

    def __init__(self) -> None:
        self.now_ns = 5 * 10**14
        self.waited_ns: list[int] = []

    def monotonic_ns(self) -> int:
        return self.now_ns

    def wait_ns(self, ns: int) -> bool:
        self.waited_ns.append(ns)
        self.now_ns += ns
        return False


def photograph() -> np.ndarray:
    rng = np.random.default_rng(7)
    coarse = rng.integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3), np.uint8)
    return np.kron(coarse, np.ones((16, 16, 1), np.uint8))


def twin(clock: FakeClock, rate_deg_s: float = 8.0, **changes: object) -> TwinCamera:
    calibration = simulated_calibration(WIDTH, HEIGHT)
    settings = replace(TwinSettings(noise=QUIET), **changes)  # type: ignore[arg-type]
    source = HandShake(4, rate_rms_deg_s=rate_deg_s)
    return TwinCamera(
        scene_for(calibration, photograph()),
        source,
        calibration,
        settings,
        monotonic_ns=clock.monotonic_ns,
        wait_ns=clock.wait_ns,
    )


def test_it_is_a_camera_and_returns_when_the_exposure_is_over() -> None:
    clock = FakeClock()
    camera: Camera = twin(clock)
    asked_ns = clock.now_ns
    frame = camera.capture()
    assert frame.timing.start_ns >= asked_ns
    assert frame.timing.end_ns <= clock.now_ns
    assert frame.pixels.shape == (HEIGHT, WIDTH, 3)
    assert frame.metadata["SensorTimestamp"] == frame.timing.first_row_end_ns
    assert len(clock.waited_ns) == 1


def test_a_still_twin_sees_the_truth() -> None:
    clock = FakeClock()
    calibration = simulated_calibration(WIDTH, HEIGHT)
    camera = TwinCamera(
        scene_for(calibration, photograph()),
        Still(),
        calibration,
        TwinSettings(noise=QUIET),
        monotonic_ns=clock.monotonic_ns,
        wait_ns=clock.wait_ns,
    )
    frame = camera.capture()
    assert camera.last_truth is not None
    difference = frame.pixels.astype(int) - camera.last_truth.sharp
    assert np.abs(difference).max() <= 1


def test_shaking_smears_and_the_truth_stays_sharp() -> None:
    camera = twin(FakeClock(), rate_deg_s=60.0)
    pixels = camera.capture().pixels
    assert camera.last_truth is not None
    steps = [
        np.abs(np.diff(p.astype(float), axis=1)).max() for p in (pixels, camera.last_truth.sharp)
    ]
    assert steps[0] < 0.8 * steps[1]


def test_what_the_sensor_is_fed_integrates_to_the_poses_of_the_frame() -> None:
    source = HandShake(9, rate_rms_deg_s=20.0)
    clock = FakeClock()
    calibration = simulated_calibration(WIDTH, HEIGHT)
    camera = TwinCamera(
        scene_for(calibration, photograph()),
        source,
        calibration,
        monotonic_ns=clock.monotonic_ns,
        wait_ns=clock.wait_ns,
    )
    timing = camera.capture().timing
    assert camera.last_truth is not None
    t_ns = np.arange(timing.start_ns, timing.end_ns, 1_000_000)
    gyro_rad_s, acc_g = imu_function(source)(t_ns * 1e-9)
    turned = integrate_rates(t_ns, gyro_rad_s)
    truth = camera.last_truth.track.rotation_at(t_ns)
    error = rotation_log(np.swapaxes(truth[0].T @ truth, 1, 2) @ turned)
    assert np.abs(error).max() < 1e-5
    assert np.linalg.norm(acc_g, axis=1) == pytest.approx(np.ones(len(t_ns)), abs=0.3)


def test_the_same_seed_and_time_give_the_same_frame() -> None:
    first, again = (twin(FakeClock(), noise=None).capture().pixels for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_close_wakes_a_waiting_capture() -> None:
    calibration = simulated_calibration(WIDTH, HEIGHT)
    camera = TwinCamera(
        scene_for(calibration, photograph()),
        Still(),
        calibration,
        TwinSettings(lead_ns=3_600_000_000_000),
    )
    raised: list[CameraError] = []
    waiting = threading.Event()

    def shoot() -> None:
        waiting.set()
        with pytest.raises(CameraError) as caught:
            camera.capture()
        raised.append(caught.value)

    thread = threading.Thread(target=shoot)
    thread.start()
    assert waiting.wait(10)
    camera.close()
    camera.close()
    thread.join(10)
    assert len(raised) == 1


@pytest.mark.parametrize("size", [(640, 480), (90, 120), (100, 40)])
def test_a_scene_covers_the_frame_with_a_margin(size: tuple[int, int]) -> None:
    calibration = simulated_calibration(WIDTH, HEIGHT)
    scene = scene_for(calibration, np.zeros((size[1], size[0], 3), np.uint8))
    corners = np.array([[-0.5, -0.5], [WIDTH - 0.5, HEIGHT - 0.5]])
    seen = (calibration.pixels_to_rays(corners) @ scene.K.T)[:, :2]
    height, width = scene.picture.shape[:2]
    assert (seen[0] > [-0.5, -0.5]).all()
    assert (seen[1] < [width - 0.5, height - 0.5]).all()
    margin = seen[0] + 0.5
    assert min(margin[0] / width, margin[1] / height) == pytest.approx(0.0536, abs=0.01)


def test_noise_has_the_variance_of_the_model() -> None:
    noise = noise_at_gain(8.0)
    assert (noise.shot, noise.read) == pytest.approx((0.002, 0.0028), rel=0.02)
    for level in (0.05, 0.5):
        light = np.full((200, 200, 3), level, np.float32)
        pixels = develop(light, "linear", noise, np.random.default_rng(1))
        variance = to_linear(pixels, "linear").var()
        rounding = 1 / 255**2 / 12
        expected = noise.shot * level + noise.read**2 + rounding
        assert variance == pytest.approx(expected, rel=0.02)


def test_light_beyond_full_well_is_clipped() -> None:
    light = np.array([[[-0.5, 0.25, 7.0]]], np.float32)
    np.testing.assert_array_equal(develop(light, "srgb"), from_linear(light.clip(0, 1), "srgb"))
    with pytest.raises(ValueError, match="generator"):
        develop(light, "srgb", QUIET)


def test_the_demo_material_is_there_and_moves_as_a_hand_does() -> None:
    assert read_photograph(DEMO_PHOTOGRAPH).shape == (1200, 1600, 3)
    (hand,) = read_recordings(DEMO_MOTION)
    t_s = np.linspace(0.1, 19.9, 500)
    rate_deg_s = np.degrees(np.linalg.norm(hand.gyro_rad_s(t_s), axis=1))
    assert hand.duration_s == pytest.approx(20.0, abs=0.1)
    assert 5 < np.median(rate_deg_s) < 40


def test_a_file_that_is_no_photograph_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"not a picture")
    for name in ("photo.jpg", "nothing.jpg"):
        with pytest.raises(InputError, match="photograph"):
            read_photograph(tmp_path / name)


def test_a_bracket_is_longer_exposed_and_brighter() -> None:
    camera = twin(FakeClock(), rate_deg_s=0.0, exposure_ns=8_000_000)
    means = {}
    for stops in (-1.0, 0.0, 1.0):
        camera.set_stops(stops)
        frame = camera.capture()
        assert frame.timing.exposure_ns == round(8_000_000 * 2**stops)
        means[stops] = float(to_linear(frame.pixels, frame.tone).mean())
    assert means[-1.0] == pytest.approx(means[0.0] / 2, rel=0.02)
    assert means[1.0] > 1.4 * means[0.0]  # some of it is clipped
