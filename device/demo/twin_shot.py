"""One photograph through the whole program without hardware: twin, emulator, reader, bundle.

A recorded hand moves both the simulated camera and the emulated WT901. The sensor's bytes go
over a real pseudo-terminal into the real reader; the photograph is taken as `stillpi shoot` does.
"""

from __future__ import annotations

import threading
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.capture.scene import (
    DEMO_MOTION,
    DEMO_PHOTOGRAPH,
    read_photograph,
    scene_for,
    simulated_calibration,
)
from device.capture.twin import TwinCamera, TwinSettings, imu_function
from device.errors import CameraError
from device.motion.recordings import read_recordings
from device.motion.sources import Playback
from device.photo import take_photo
from firmware_bridge.emulator import EmulatorErrors, PtyEmulator, Wt901Emulator
from firmware_bridge.provision import ProvisionPlan
from firmware_bridge.reader import ImuReader
from firmware_bridge.reader_stats import ReaderStats
from firmware_bridge.serial_link import SerialLink

WIDTH, HEIGHT = 1280, 960
EXPOSURE_S = 1 / 15
_WARM_UP_S = 3.0
"""The reader maps the chip's clock from arrivals: after 3 s to a fraction of a millisecond."""
_SHAKE_AT_S = 14.0
"""A moment of the recording when the hand turns by some 20 deg/s: an ordinary spoilt photograph."""
_BIAS_ERROR_DEG_S = np.array([0.10, -0.08, 0.05])
"""How far the calibrated bias is off: the sensor's own drift within a day."""


@dataclass(frozen=True)
class TwinShot:
    """What came of it; truth : (H, W, 3) uint8, the photograph without any motion."""

    bundle: Path
    truth: NDArray[np.uint8]
    sensor: ReaderStats


def take_twin_photo(bundle: Path, *, seed: int = 7) -> TwinShot:
    """Take one photograph into the new folder `bundle`.

    Raises CameraError or OSError when that fails.
    """
    errors = EmulatorErrors()
    bias_deg_s = np.asarray(errors.gyro_bias_deg_s) + _BIAS_ERROR_DEG_S
    calibration = replace(
        simulated_calibration(WIDTH, HEIGHT),
        gyro_bias_rad_s=tuple(np.radians(bias_deg_s).tolist()),
    )
    shutter_s = time.monotonic() + _WARM_UP_S
    recording = max(read_recordings(DEMO_MOTION), key=lambda piece: piece.duration_s)
    hand = Playback(recording, recording.duration_s, origin_s=shutter_s - _SHAKE_AT_S)
    plan = ProvisionPlan()
    emulator = Wt901Emulator(imu_function(hand), seed=seed, errors=errors, registers=plan.settings)
    settings = TwinSettings(exposure_ns=round(EXPOSURE_S * 1e9))
    scene = scene_for(calibration, read_photograph(DEMO_PHOTOGRAPH))
    camera = TwinCamera(scene, hand, calibration, settings, seed=seed)
    with (
        PtyEmulator(emulator) as sensor,
        ImuReader(lambda: SerialLink(sensor.port, plan.baud.bits_per_s)) as reader,
        closing(camera),
    ):
        threading.Event().wait(max(0.0, shutter_s - time.monotonic()))
        take_photo(camera, reader, bundle)
        stats = reader.stats()
    if camera.last_truth is None:
        raise CameraError("the simulated camera took no photograph")
    return TwinShot(bundle, camera.last_truth.sharp, stats)
