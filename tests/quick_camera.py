"""Cameras that are quick and do what a test wants, and the rig around them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from device.calibration import CameraCalibration
from device.capture.camera import Frame
from device.capture.open import Rig
from device.capture.scene import simulated_calibration
from device.capture.timing import FrameTiming
from device.errors import CameraError
from device.photo import MotionLog

SIZE = (96, 64)


class FixedCamera:
    """Grey frames with a made-up timing; fails when told to."""

    size = SIZE

    def __init__(self) -> None:
        self.calibration: CameraCalibration = simulated_calibration(*self.size)
        self.fails: Exception | None = None
        self.stops = 0.0
        self.taken_at: list[float] = []
        self.closed = False

    def capture(self) -> Frame:
        if self.closed:
            raise CameraError("closed")
        if self.fails is not None:
            raise self.fails
        self.taken_at.append(self.stops)
        width, height = self.size
        pixels = np.full((height, width, 3), 100 + 10 * len(self.taken_at), np.uint8)
        exposure_ns = round(1e6 * 2**self.stops)
        now_ns = time.monotonic_ns()
        return Frame(pixels, FrameTiming(now_ns + exposure_ns, exposure_ns, 0, "top_down", height))

    def close(self) -> None:
        self.closed = True


class QuickCamera(FixedCamera):
    """Its exposure can be set."""

    def set_stops(self, stops: float) -> None:
        self.stops = stops


class Studio:
    """Opens rigs around such cameras, as often as asked; `refuses` keeps one from opening."""

    def __init__(self) -> None:
        self.kind: type[FixedCamera] = QuickCamera
        self.cameras: list[FixedCamera] = []
        self.refuses: Exception | None = None
        self.log: MotionLog | None = None

    @contextmanager
    def open(self) -> Iterator[Rig]:
        if self.refuses is not None:
            raise self.refuses
        camera = self.kind()
        self.cameras.append(camera)
        try:
            yield Rig(camera, self.log, live=True)
        finally:
            camera.close()
