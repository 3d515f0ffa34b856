"""From the configuration to an open camera and an open motion sensor.

The only place that knows every kind of them. The simulated pair shares one motion: the twin is
shaken by what the emulator feels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace

import numpy as np

from device.calibration import CameraCalibration, read_calibration
from device.capture.camera import Camera
from device.capture.mounting import rotation_from_axes
from device.config import (
    Config,
    EmulatorConfig,
    I2cConfig,
    MotionConfig,
    NoImuConfig,
    PicameraConfig,
    SerialConfig,
    TwinConfig,
)
from device.errors import InputError
from device.motion.sources import MotionSource
from device.photo import MotionLog
from firmware_bridge.link import OpenLink
from firmware_bridge.openers import I2cOpener, SerialOpener
from firmware_bridge.reader import ImuReader

READY_SAMPLES, READY_TIMEOUT_S = 600, 5.0
"""3 s at 200 Hz: the still moment before the shot, and arrivals enough to know the clock."""


@dataclass(frozen=True)
class Rig:
    """What takes photographs.

    log : the motion sensor's, None without one. live : False when old photographs are replayed.
    """

    camera: Camera
    log: MotionLog | None
    live: bool


@contextmanager
def open_rig(config: Config) -> Iterator[Rig]:
    """The configured camera and sensor, warm; both are closed at the end.

    A sensor that is not there does not keep the camera from opening: its reader goes on looking.
    Raises CameraError, InputError.
    """
    source = _motion_source(config)
    with ExitStack() as stack:
        # The sensor first: its clock becomes known while the camera starts.
        reader = stack.enter_context(_open_imu(config, source))
        camera = stack.enter_context(closing(open_camera(config, source)))
        log: MotionLog | None = reader
        if reader is not None:
            reader.wait_for_samples(READY_SAMPLES, READY_TIMEOUT_S)
        elif config.camera.kind == "replay":
            log = _replayed_log(camera)
        yield Rig(camera, log, live=config.camera.kind != "replay")


def open_camera(config: Config, source: MotionSource | None = None) -> Camera:
    """The configured camera; `source` shakes it when it is the twin.

    Raises CameraError when it cannot be opened, InputError for files that do not fit.
    """
    camera = config.camera
    if isinstance(camera, PicameraConfig):
        from device.capture.picamera2_camera import PicameraCamera

        return PicameraCamera(camera, calibration_file=config.calibration, imu_axes=config.imu_axes)
    if isinstance(camera, TwinConfig):
        return _twin(config, camera, source or motion_source(camera.motion))
    from device.capture.replay import ReplayCamera

    return ReplayCamera([camera.folder])


@contextmanager
def _open_imu(config: Config, source: MotionSource | None) -> Iterator[ImuReader | None]:
    """The reader of the configured sensor, started; None without one."""
    imu = config.imu
    with ExitStack() as stack:
        if isinstance(imu, NoImuConfig):
            yield None
            return
        if isinstance(imu, SerialConfig):
            baud = None if imu.baud == "auto" else imu.baud
            open_link: OpenLink = SerialOpener(str(imu.port), baud)
        elif isinstance(imu, I2cConfig):
            open_link = I2cOpener(imu.bus, imu.address)
        else:
            open_link = _emulated(imu, source, stack)
        yield stack.enter_context(ImuReader(open_link))


def _emulated(imu: EmulatorConfig, source: MotionSource | None, stack: ExitStack) -> OpenLink:
    """A provisioned sensor behind a pseudo-terminal that lives as long as the stack."""
    from device.capture.twin import imu_function
    from firmware_bridge.emulator import PtyEmulator, Wt901Emulator
    from firmware_bridge.provision import ProvisionPlan
    from firmware_bridge.serial_link import SerialLink

    assert source is not None, "the configuration lets an emulator stand beside a twin only"
    plan = ProvisionPlan()
    emulator = Wt901Emulator(imu_function(source), seed=imu.seed, registers=plan.settings)
    terminal = stack.enter_context(PtyEmulator(emulator))
    return lambda: SerialLink(terminal.port, plan.baud.bits_per_s)


def _motion_source(config: Config) -> MotionSource | None:
    return motion_source(config.camera.motion) if isinstance(config.camera, TwinConfig) else None


def motion_source(
    motion: MotionConfig, *, monotonic_ns: Callable[[], int] = time.monotonic_ns
) -> MotionSource:
    """The simulated hand; a recording starts now and goes forth and back.

    Raises InputError for a recording that cannot be read.
    """
    from device.motion.recordings import read_recordings
    from device.motion.sources import HandShake, Playback, Still

    if motion.kind == "still":
        return Still()
    if motion.kind == "hand_shake" or motion.file is None:
        return HandShake(motion.seed, rate_rms_deg_s=motion.rate_deg_s)
    recording = read_recordings(motion.file)[0]
    return Playback(recording, recording.duration_s, origin_s=monotonic_ns() * 1e-9)


def _twin(config: Config, camera: TwinConfig, source: MotionSource) -> Camera:
    from device.capture.scene import DEMO_PHOTOGRAPH, read_photograph, scene_for
    from device.capture.twin import TwinCamera, TwinSettings

    calibration = _twin_calibration(config, camera.size)
    settings = TwinSettings(
        exposure_ns=round(camera.exposure_s * 1e9),
        line_time_ns=round(camera.line_time_us * 1e3),
        analogue_gain=camera.analogue_gain,
    )
    scene = scene_for(calibration, read_photograph(camera.scene or DEMO_PHOTOGRAPH))
    return TwinCamera(scene, source, calibration, settings, seed=camera.seed)


def _twin_calibration(config: Config, size: tuple[int, int]) -> CameraCalibration:
    """The file's; otherwise an ideal lens and the bias a calibration of the emulator finds."""
    from device.capture.scene import simulated_calibration
    from firmware_bridge.emulator import EmulatorErrors

    if config.calibration is None:
        mounted = np.eye(4)
        mounted[:3, :3] = rotation_from_axes(config.imu_axes)
        x, y, z = np.radians(EmulatorErrors().gyro_bias_deg_s).tolist()
        return replace(simulated_calibration(*size), T_cam_imu=mounted, gyro_bias_rad_s=(x, y, z))
    calibration = read_calibration(config.calibration)
    if (calibration.width, calibration.height) != size:
        found = f"{calibration.width}x{calibration.height}"
        expected = f"{size[0]}x{size[1]}, the size of the camera's frames"
        raise InputError(config.calibration, "cam0.resolution", found, expected)
    return calibration


def _replayed_log(camera: Camera) -> MotionLog | None:
    from device.capture.replay import ReplayCamera, ReplayImu

    return ReplayImu(camera) if isinstance(camera, ReplayCamera) else None
