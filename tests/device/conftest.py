"""A small bundle, whole in every part, to read, damage and replay; a real server to deliver to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sshd import Sshd

from device.bundle import write_bundle
from device.calibration import CameraCalibration
from device.capture.camera import Frame, NoiseModel
from device.capture.timing import FrameTiming
from firmware_bridge.samples import ImuSamples

WIDTH, HEIGHT = 64, 48
RATE_HZ = 200
EXPOSURE_NS = 20_000_000


def small_frame(seed: int = 0, **changes: Any) -> Frame:
    """A 64 x 48 frame of soft noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    pixels = np.stack([rows * 4, columns * 3, rng.integers(90, 110, rows.shape)], axis=-1)
    values: dict[str, Any] = {
        "pixels": pixels.astype(np.uint8),
        "timing": FrameTiming(5_000_000_000, EXPOSURE_NS, 28_571, "top_down", HEIGHT),
        "tone": "srgb",
        "orientation": 6,
        "sensor_model": "imx477",
        "analogue_gain": 8.0,
        "noise": NoiseModel(0.002, 0.003),
        "metadata": {"SensorTimestamp": 5_000_000_000, "ColourGains": (1.5, 2.0)},
        "depth_m": 2.5,
        **changes,
    }
    return Frame(**values)


def small_samples(start_s: float = 4.0, end_s: float = 6.0) -> ImuSamples:
    """The sensor's own counts, so that a log keeps them exactly."""
    t_ns = np.arange(round(start_s * 1e9), round(end_s * 1e9), 10**9 // RATE_HZ, dtype=np.int64)
    rng = np.random.default_rng(1)
    gyro = rng.integers(-2000, 2000, (len(t_ns), 3)) * np.deg2rad(2000.0) / 32768
    acc = rng.integers(-3000, 3000, (len(t_ns), 3)) * 16.0 / 32768
    return ImuSamples(t_ns, gyro, acc)


def small_calibration(**changes: Any) -> CameraCalibration:
    """Of the small frame."""
    values: dict[str, Any] = {
        "fx": 60.0,
        "fy": 61.0,
        "cx": 31.5,
        "cy": 23.5,
        "width": WIDTH,
        "height": HEIGHT,
        "distortion_model": "none",
        "distortion_coeffs": (),
        "T_cam_imu": np.diag([1.0, -1.0, -1.0, 1.0]),
        "timeshift_s": 0.001,
        **changes,
    }
    return CameraCalibration(**values)


MakeBundle = Callable[..., Path]


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory: pytest.TempPathFactory) -> MakeBundle:
    """make_bundle(frame=..., samples=..., calibration=..., **write options) -> a new folder."""

    def make(
        frame: Frame | None = None,
        samples: ImuSamples | None = None,
        calibration: CameraCalibration | None = None,
        **options: Any,
    ) -> Path:
        return write_bundle(
            tmp_path_factory.mktemp("bundle") / "shot.capture",
            frame or small_frame(),
            small_samples() if samples is None else samples,
            calibration or small_calibration(),
            **options,
        )

    return make


@pytest.fixture(scope="session")
def make_frame() -> Callable[..., Frame]:
    """small_frame, for tests that change one thing of it."""
    return small_frame


@pytest.fixture(scope="session")
def make_samples() -> Callable[..., ImuSamples]:
    """small_samples, over another span."""
    return small_samples


@pytest.fixture(scope="session")
def make_calibration() -> Callable[..., CameraCalibration]:
    """small_calibration, for tests that change one thing of it."""
    return small_calibration


@pytest.fixture(scope="session")
def one_sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd") / "server") as server:
        yield server


@pytest.fixture
def sshd(one_sshd: Sshd) -> Sshd:
    """A real server on loopback: running, known, its inbox empty."""
    one_sshd.reset()
    return one_sshd
