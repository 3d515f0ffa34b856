"""The twin: a simulated camera behind the same Protocol as the real one.

It takes its exposure at the moment it is asked, on the host's clock, so that an emulated WT901
driven by the same motion (`imu_function`) logs what moved it:

    source = HandShake(seed=1)
    emulator = Wt901Emulator(imu_function(source), seed=1)
    camera = TwinCamera(scene_for(calibration, photograph), source, calibration)

Failure policy: `capture` either gives a whole frame or raises CameraError (it was closed while
it waited); nothing it holds outlives `close`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device.calibration import CameraCalibration
from device.capture.camera import Frame, NoiseModel, Tone
from device.capture.develop import develop, noise_at_gain
from device.capture.render import render_exposure, render_sharp
from device.capture.scene import Scene
from device.capture.timing import FrameTiming, RowOrder
from device.errors import CameraError
from device.motion.poses import PoseTrack
from device.motion.rotations import FloatArray
from device.motion.sources import MotionSource, pose_track

_TRACK_STEP_NS = 500_000
_TRACK_MARGIN_NS = 20_000_000
_SHUTTER_DELAY_NS = 5_000_000


@dataclass(frozen=True)
class TwinSettings:
    """How the twin exposes.

    line_time_ns : 0 for a global shutter. noise : None takes what the gain brings.
    lead_ns : from the call of `capture` to the start of the exposure, as a shutter has.
    """

    exposure_ns: int = 50_000_000
    line_time_ns: int = 40_000
    row_order: RowOrder = "top_down"
    analogue_gain: float = 4.0
    noise: NoiseModel | None = None
    tone: Tone = "srgb"
    orientation: int = 1
    lead_ns: int = _SHUTTER_DELAY_NS


@dataclass(frozen=True)
class TwinTruth:
    """What a real camera never tells: the sharp picture (sRGB or the tone asked for), the poses."""

    sharp: NDArray[np.uint8]
    track: PoseTrack


def imu_function(
    source: MotionSource,
) -> Callable[[FloatArray], tuple[FloatArray, FloatArray]]:
    """The motion as the emulator wants it: times in seconds to (rate in rad/s, force in g)."""
    return lambda t_s: (source.gyro_rad_s(t_s), source.specific_force_g(t_s))


class TwinCamera:
    """A rolling-shutter camera that looks at a picture while a motion source shakes it.

    The scene stays in front of the lens: each frame's world is the camera's pose in the middle
    of that frame, as if the photographer had aimed.

    monotonic_ns : the clock. wait_ns : waits for so many nanoseconds of that clock, True when
    woken early by `close`; None waits in real time. seed : of the noise.
    """

    def __init__(
        self,
        scene: Scene,
        source: MotionSource,
        calibration: CameraCalibration,
        settings: TwinSettings | None = None,
        *,
        seed: int = 0,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        wait_ns: Callable[[int], bool] | None = None,
    ) -> None:
        self.calibration = calibration
        self.last_truth: TwinTruth | None = None
        self._scene = scene
        self._source = source
        self._settings = settings or TwinSettings()
        self._stops = 0.0
        self._rng = np.random.default_rng(seed)
        self._monotonic_ns = monotonic_ns
        self._closed = threading.Event()
        self._wait_ns = wait_ns or (lambda ns: self._closed.wait(ns * 1e-9))

    def capture(self) -> Frame:
        """Expose now, return when the exposure is over and the picture is rendered."""
        settings = self._settings
        exposure_ns = round(settings.exposure_ns * 2.0**self._stops)
        timing = FrameTiming(
            self._monotonic_ns() + settings.lead_ns + exposure_ns,
            exposure_ns,
            settings.line_time_ns,
            settings.row_order,
            self.calibration.height,
        )
        self._wait_until(timing.end_ns)
        light = self._render(timing) * np.float32(2.0**self._stops)
        noise = settings.noise or noise_at_gain(settings.analogue_gain)
        return Frame(
            pixels=develop(light, settings.tone, noise, self._rng),
            timing=timing,
            tone=settings.tone,
            orientation=settings.orientation,
            sensor_model="twin",
            analogue_gain=settings.analogue_gain,
            noise=noise,
            metadata={
                "SensorTimestamp": timing.first_row_end_ns,
                "ExposureTime": exposure_ns // 1000,
                "AnalogueGain": settings.analogue_gain,
            },
            depth_m=self._scene.depth_m,
        )

    def set_stops(self, stops: float) -> None:
        """Expose the next photographs so many stops longer than configured; 0 ends that."""
        self._stops = stops

    def close(self) -> None:
        """Wake a waiting `capture`; closing twice is fine."""
        self._closed.set()

    def _wait_until(self, end_ns: int) -> None:
        while not self._closed.is_set():
            missing_ns = end_ns - self._monotonic_ns()
            if missing_ns <= 0:
                return
            self._wait_ns(missing_ns)
        raise CameraError("the simulated camera is closed")

    def _render(self, timing: FrameTiming) -> NDArray[np.float32]:
        t_ns = np.arange(
            timing.start_ns - _TRACK_MARGIN_NS, timing.end_ns + _TRACK_MARGIN_NS, _TRACK_STEP_NS
        )
        track = pose_track(
            self._source, self.calibration.T_cam_imu, t_ns, reference_ns=timing.mid_ns
        )
        scene = self._scene
        args = (scene.picture, scene.K, self.calibration, timing, track)
        sharp = render_sharp(*args, depth_m=scene.depth_m, layers=scene.layers)
        self.last_truth = TwinTruth(develop(sharp, self._settings.tone), track)
        return render_exposure(*args, depth_m=scene.depth_m, layers=scene.layers)
