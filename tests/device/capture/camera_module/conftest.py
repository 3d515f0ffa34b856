"""A double of picamera2's API, and of the sensor behind it, on a clock of its own.

It models what the adapter must cope with: controls that take effect three frames late, old frames
that complete first, buffers that starve when requests are kept, a configuration that may be read
only before the camera starts, timestamps at the end of the first row's exposure.
"""

from __future__ import annotations

import json
import sys
import types
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

CONTROL_DELAY_FRAMES = 3
GAMMA = [0, 0, 1024, 5040, 2048, 9338, 65535, 65535]


@dataclass
class World:
    """The machine the double runs on, and what happened to it."""

    now_ns: int = 1_000_000_000_000
    boottime_ahead_ns: int = 0
    model: str = "imx477"
    modes: list[tuple[int, int, int, tuple[int, int, int, int]]] = field(
        default_factory=lambda: [
            (4056, 3040, 12, (0, 0, 4056, 3040)),
            (2028, 1520, 12, (0, 0, 4056, 3040)),
            (2028, 1080, 12, (0, 440, 4056, 2160)),
        ]
    )
    array: tuple[int, int] = (4056, 3040)
    unknown_controls: set[str] = field(default_factory=set)
    scaler_crop: tuple[int, int, int, int] | None = None
    lens_position: float | None = None
    stale_frames: int = 0
    flush_is_broken: bool = False
    starve: bool = False
    drop_metadata: set[str] = field(default_factory=set)
    given_format: str | None = None
    given_size: tuple[int, int] | None = None
    ignore_transform: bool = False
    light: float = 0.04 * 6.0  # seconds times gain that automatic exposure aims at
    never_settles: bool = False
    tuning: dict[str, Any] = field(
        default_factory=lambda: {
            "version": 2.0,
            "algorithms": [
                {"rpi.black_level": {"black_level": 4096}},
                {"rpi.contrast": {"ce_enable": 1, "gamma_curve": list(GAMMA)}},
            ],
        }
    )
    cameras: list[FakePicamera2] = field(default_factory=list)

    @property
    def camera(self) -> FakePicamera2:
        return self.cameras[-1]

    def monotonic_ns(self) -> int:
        return self.now_ns

    def boottime_ns(self) -> int:
        return self.now_ns + self.boottime_ahead_ns


@dataclass
class Transform:
    hflip: int = 0
    vflip: int = 0


class FakeRequest:
    def __init__(self, camera: FakePicamera2, metadata: dict[str, Any]) -> None:
        self._camera, self._metadata, self.released = camera, metadata, 0
        camera.held += 1

    def get_metadata(self) -> dict[str, Any]:
        assert not self.released
        return dict(self._metadata)

    def make_array(self, name: str) -> np.ndarray:
        assert name == "main"
        assert not self.released
        main = self._camera.config["main"]
        width, height = main["size"]
        red_green_blue = np.broadcast_to(np.array([200, 100, 50], np.uint8), (height, width, 3))
        # libcamera names formats by significance: BGR888 has red first in memory.
        array = red_green_blue if main["format"] == "BGR888" else red_green_blue[..., ::-1]
        return np.ascontiguousarray(array)

    def release(self) -> None:
        self.released += 1
        assert self.released == 1, "released twice"
        self._camera.held -= 1


class FakePicamera2:
    world: World

    def __init__(self, number: int = 0, tuning: dict[str, Any] | None = None) -> None:
        self.number, self.tuning = number, tuning
        self.config: dict[str, Any] = {}
        self.started = self.closed = False
        self.held = self.mode_readings = self.jobs_left = 0
        self.history: list[dict[str, Any]] = []
        self._set: dict[str, Any] = {}
        self._late: deque[dict[str, Any]] = deque(maxlen=CONTROL_DELAY_FRAMES + 1)
        self._auto_frames = 0
        self.camera_properties = {"PixelArraySize": self.world.array, "Model": self.world.model}
        self.world.cameras.append(self)

    @staticmethod
    def global_camera_info() -> list[dict[str, Any]]:
        return [{"Model": FakePicamera2.world.model, "Id": "/base/i2c@88000/imx477@1a", "Num": 0}]

    @staticmethod
    def load_tuning_file(name: str, dir: str | None = None) -> dict[str, Any]:
        world = FakePicamera2.world
        if name != f"{world.model}.json":
            raise RuntimeError("Tuning file not found")
        loaded: dict[str, Any] = json.loads(json.dumps(world.tuning))
        return loaded

    @property
    def sensor_modes(self) -> list[dict[str, Any]]:
        assert not self.started, "reading the modes reconfigures the camera"
        assert not self.config, "reading the modes would undo the configuration"
        self.mode_readings += 1
        return [
            {"size": (w, h), "bit_depth": depth, "crop_limits": crop, "format": "SRGGB12_CSI2P"}
            for w, h, depth, crop in self.world.modes
        ]

    @property
    def camera_controls(self) -> dict[str, tuple[Any, Any, Any]]:
        controls: dict[str, tuple[Any, Any, Any]] = {
            "AeEnable": (False, True, None),
            "AwbEnable": (False, True, None),
            "ExposureTime": (114, 694422939, None),
            "AnalogueGain": (1.0, 22.26, None),
            "ColourGains": (0.0, 32.0, None),
            "FrameDurationLimits": (100_000, 694434742, None),
            "Sharpness": (0.0, 16.0, 1.0),
            "Contrast": (0.0, 32.0, 1.0),
            "Brightness": (-1.0, 1.0, 0.0),
            "Saturation": (0.0, 32.0, 1.0),
            "NoiseReductionMode": (0, 4, 0),
            "HdrMode": (0, 4, 0),
            "ScalerCrop": ((0, 0, 64, 64), (0, 0, *self.world.array), (0, 0, *self.world.array)),
        }
        if self.world.lens_position is not None:
            controls |= {"AfMode": (0, 2, 0), "LensPosition": (0.0, 32.0, 1.0)}
        return {k: v for k, v in controls.items() if k not in self.world.unknown_controls}

    def create_still_configuration(
        self,
        main: dict[str, Any],
        raw: None,
        sensor: dict[str, Any],
        transform: Transform,
        buffer_count: int,
        queue: bool,
    ) -> dict[str, Any]:
        assert raw is None
        assert sensor["output_size"] in [(w, h) for w, h, _, _ in self.world.modes]
        return {
            "main": dict(main),
            "sensor": sensor,
            "transform": transform,
            "buffer_count": buffer_count,
            "queue": queue,
        }

    def configure(self, config: dict[str, Any]) -> None:
        assert not self.started
        assert not self.config, "configured twice"
        self.config = config
        main = config["main"]
        main["format"] = self.world.given_format or main["format"]
        main["size"] = self.world.given_size or main["size"]
        if self.world.ignore_transform:
            config["transform"] = Transform()

    def camera_configuration(self) -> dict[str, Any]:
        return self.config

    def set_controls(self, controls: dict[str, Any]) -> None:
        for name in controls:
            if name not in self.camera_controls:
                raise RuntimeError(f"Control {name} is not advertised by libcamera")
        self._set = {**self._set, **controls}
        self.history.append(dict(controls))

    def start(self) -> None:
        assert self.config
        self.started = True
        self._late.extend([dict(self._set)] * CONTROL_DELAY_FRAMES)

    def capture_request(self, wait: float, flush: int | None) -> FakeRequest:
        assert self.started
        assert wait > 0, "a wait without an end"
        assert self.jobs_left == 0, "a job that timed out took this frame"
        if self.world.starve or self.held >= self.config["buffer_count"]:
            self.jobs_left += 1
            raise TimeoutError
        while True:
            metadata, is_old = self._next_frame()
            # picamera2 itself fails with a KeyError when it cannot compare.
            if (
                flush is None
                or self.world.flush_is_broken
                or metadata["SensorTimestamp"] - 1000 * metadata["ExposureTime"] >= flush
            ):
                return FakeRequest(self, metadata)
            assert is_old, "waits for ever"

    def cancel_all_and_flush(self) -> None:
        self.jobs_left = 0

    def close(self) -> None:
        assert self.held == 0, "a request was not released"
        self.started, self.closed = False, True

    def _next_frame(self) -> tuple[dict[str, Any], bool]:
        self._late.append(dict(self._set))
        controls, world = self._late[0], self.world
        exposure_us, gain, state = self._expose(controls)
        shortest_us, _ = controls.get("FrameDurationLimits", (100_000, 100_000))
        frame_us = max(int(shortest_us), exposure_us)
        is_old = world.stale_frames > 0
        world.stale_frames -= is_old
        began_ns = world.now_ns + (-(10**9) if is_old else 50_000)
        world.now_ns += 50_000 + frame_us * 1000
        metadata: dict[str, Any] = {
            "SensorTimestamp": began_ns + exposure_us * 1000,
            "ExposureTime": exposure_us,
            "AnalogueGain": gain,
            "DigitalGain": 1.0,
            "ColourGains": controls.get("ColourGains", (2.0 + 1 / (1 + self._auto_frames), 1.6)),
            "FrameDuration": frame_us,
            "ScalerCrop": world.scaler_crop or self._mode_crop(),
            "AeState": state,
        }
        if world.lens_position is not None:
            metadata["LensPosition"] = controls.get("LensPosition", 1.0)
        return {k: v for k, v in metadata.items() if k not in world.drop_metadata}, is_old

    def _mode_crop(self) -> tuple[int, int, int, int]:
        size = self.config["sensor"]["output_size"]
        return next(crop for w, h, _, crop in self.world.modes if (w, h) == size)

    def _expose(self, controls: dict[str, Any]) -> tuple[int, float, int]:
        if not controls.get("AeEnable"):
            self._auto_frames += bool(controls.get("AwbEnable"))
            return controls["ExposureTime"], controls["AnalogueGain"], 0
        self._auto_frames += 1
        aim = self.world.light * min(1.0, 0.5 + 0.1 * self._auto_frames)
        settled = self._auto_frames > 5 and not self.world.never_settles
        # What was set once stays set beside the automatic, until it is set to 0.
        exposure_us = controls.get("ExposureTime") or round(aim / 2.0 * 1e6)
        gain = controls.get("AnalogueGain") or aim / (exposure_us * 1e-6)
        return exposure_us, gain, 2 if settled else 1


@dataclass
class FixedLineClock:
    """A driver that tells a line time, or none."""

    value_ns: float | None = 28_571.0
    hdr: bool = False
    asked: list[int] = field(default_factory=list)

    def line_time_ns(self, mode_width: int) -> float | None:
        self.asked.append(mode_width)
        return self.value_ns

    def wide_dynamic_range(self) -> bool:
        return self.hdr


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A machine with one camera, whose packages are importable."""
    world = World()
    monkeypatch.setattr(FakePicamera2, "world", world, raising=False)
    picamera2, libcamera = types.ModuleType("picamera2"), types.ModuleType("libcamera")
    picamera2.Picamera2 = FakePicamera2  # type: ignore[attr-defined]
    libcamera.Transform = Transform  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picamera2", picamera2)
    monkeypatch.setitem(sys.modules, "libcamera", libcamera)
    return world


@pytest.fixture
def line_clock() -> FixedLineClock:
    return FixedLineClock()


@pytest.fixture
def calibration_file(tmp_path: Path) -> Path:
    """A calibration at the full size of the HQ camera."""
    path = tmp_path / "camera.yaml"
    path.write_text(
        "cam0:\n  camera_model: pinhole\n  intrinsics: [3900.0, 3900.0, 2027.5, 1519.5]\n"
        "  distortion_model: none\n  distortion_coeffs: []\n  resolution: [4056, 3040]\n"
        "  T_cam_imu: [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0],"
        " [0.0, 0.0, 0.0, 1.0]]\n  timeshift_cam_imu: 0.004\n"
    )
    return path
