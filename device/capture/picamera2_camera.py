"""The Raspberry Pi's camera through picamera2: one locked configuration, frames with their timing.

The configuration is made once and never changed: mode switches exhaust the memory of a Pi, and a
calibration belongs to one size. What a frame was really taken with is believed from its metadata
alone. Requests may complete that began before they were asked for, and SensorTimestamp is the
END of the first row's exposure (see `device.capture.readout`).

Failure policy: what makes a photograph impossible is a CameraError; what only makes its timing
or geometry less sure is a notice, which goes into the bundle. Every request is released.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.calibration import CameraCalibration, read_calibration
from device.capture import exposure as locked
from device.capture.camera import Frame
from device.capture.exposure import Exposure
from device.capture.linetime import LineClock, V4l2LineClock
from device.capture.mounting import nominal_calibration
from device.capture.picamera2_open import camera_info, open_module, refuse_hdr
from device.config import PicameraConfig
from device.errors import CameraError, InputError
from device.notices import Notice

_log = logging.getLogger(__name__)

LARGEST_CLOCK_OFFSET_NS = 1_000_000
FRAMES_TO_SETTLE = 60
FRAMES_TO_APPLY = 12
FRAMES_TO_UNLOCK = 4
TRIES_FOR_A_FRESH_FRAME = 3
LONGEST_WAIT_S = 5.0
FARTHEST_DEPTH_DIOPTRES = 0.05  # beyond 20 m a lens position says nothing about the distance
MANY_LINES = 48  # room between exposure and frame length, enough for every sensor known
_AUTO_LONGEST_FRAME_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Clocks:
    """The two clocks a timestamp may come from, in nanoseconds."""

    monotonic_ns: Callable[[], int] = time.monotonic_ns
    boottime_ns: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class PicameraCamera:
    """A camera module, locked.

    line_clock : tells the line time; None asks the driver (V4L2).

    Raises CameraError when it cannot be opened or configured, InputError when the calibration
    does not fit its frames.
    """

    def __init__(
        self,
        config: PicameraConfig,
        *,
        calibration_file: Path | None = None,
        imu_axes: str = "XYZ",
        line_clock: LineClock | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        self._config, self._clocks = config, clocks or Clocks()
        self._asked = self._held = Exposure(
            None if config.exposure_s == "auto" else round(config.exposure_s * 1e6),
            None if config.analogue_gain == "auto" else config.analogue_gain,
            None if config.colour_gains == "auto" else config.colour_gains,
        )
        self._notices: dict[str, Notice] = {}
        self._check_clocks()
        info = camera_info(config.number)
        model = str(info["Model"])
        self._line_clock = line_clock or V4l2LineClock.of_camera(str(info.get("Id", "")))
        refuse_hdr(model, self._line_clock)
        self._picam: Any = None
        try:
            self._module = open_module(config, model)
            self._picam = self._module.picam
            self._line_time_ns()  # a sensor of unknown timing is refused now, not at the shot
            metadata = self._start()
            self._calibration = self._calibrate(calibration_file, imu_axes, metadata)
        except BaseException as error:
            self.close()
            if isinstance(error, RuntimeError) and not isinstance(error, CameraError):
                # picamera2 says that something failed; what, its cause says.
                reason = f"{error} {error.__cause__ or ''}".strip()
                raise CameraError(f"camera {config.number} ({model}): {reason}") from error
            raise

    @property
    def calibration(self) -> CameraCalibration:
        """Intrinsics and extrinsics at the size of the frames."""
        return self._calibration

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What is less sure than it should be about every frame of this camera."""
        return tuple(self._notices.values())

    def capture(self) -> Frame:
        """Take one photograph whose exposure begins after this call.

        When frames that began before keep coming, the last one is returned; its timing tells.
        Raises CameraError when none arrives or it does not say when it was taken.
        """
        asked_ns = self._clocks.monotonic_ns()
        for _ in range(TRIES_FOR_A_FRESH_FRAME):
            metadata, pixels = self._request(after_ns=asked_ns)
            began_ns = _number(metadata, "SensorTimestamp") - 1000 * _number(
                metadata, "ExposureTime"
            )
            if began_ns >= asked_ns:
                break
            _log.warning("the camera gave a frame that began before it was asked for")
        return self._frame(metadata, pixels)

    def meter(self) -> None:
        """Let the automatics find their values anew, and hold those; nothing where all is fixed."""
        if self._asked.is_locked:
            return
        self._picam.set_controls(locked.unlocking(self._controls(self._asked)))
        for _ in range(FRAMES_TO_UNLOCK):
            self._metadata()  # still taken with what was held
        self._lock()

    def set_stops(self, stops: float) -> None:
        """Take the next photographs so many stops brighter than what is held; 0 ends that."""
        gain_range = self._gain_range()
        exposure = locked.moved(self._held, stops, self._longest_us(), gain_range)
        self._picam.set_controls(self._controls(exposure))
        self._apply(exposure)

    def close(self) -> None:
        """Stop and release the camera; closing twice is fine."""
        picam, self._picam = self._picam, None
        if picam is not None:
            picam.close()

    def __enter__(self) -> PicameraCamera:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_clocks(self) -> None:
        offset_ns = abs(self._clocks.boottime_ns() - self._clocks.monotonic_ns())
        if offset_ns > LARGEST_CLOCK_OFFSET_NS:
            detail = f"{offset_ns * 1e-9:.3f} s since a suspend; frame times may be off by it"
            self._notice("clocks-differ", f"BOOTTIME and MONOTONIC differ by {detail}")

    def _calibrate(
        self, file: Path | None, imu_axes: str, metadata: Mapping[str, Any]
    ) -> CameraCalibration:
        module = self._module
        if file is not None:
            calibration = read_calibration(file)
            if (calibration.width, calibration.height) != module.size:
                found = f"{calibration.width}x{calibration.height}"
                expected = f"{module.size[0]}x{module.size[1]}, the size of the camera's frames"
                raise InputError(file, "cam0.resolution", found, expected)
            return calibration
        focal_px = module.sensor.focal_px(self._config.lens_focal_mm) if module.sensor else None
        if focal_px is None:
            raise CameraError(
                f"{module.model}: its focal length is not known: give a calibration, or for a"
                " sensor of the table camera.lens_focal_mm in the configuration"
            )
        readout = module.readout(metadata.get("ScalerCrop"))
        detail = "no calibration file: focal length and axes are nominal, the time shift 0"
        self._notice("nominal-calibration", detail)
        intrinsics = readout.intrinsics(focal_px, module.array)
        return nominal_calibration(intrinsics, module.size, imu_axes)

    def _start(self) -> Mapping[str, Any]:
        """Start the camera, settle and lock its exposure; the metadata of the last frame seen."""
        self._picam.set_controls(self._controls(self._asked))
        self._picam.start()
        return self._lock()

    def _lock(self) -> Mapping[str, Any]:
        """Hold what the automatics find; the metadata of the last frame seen."""
        exposure = self._asked
        if not exposure.is_locked:
            settled = self._settle(exposure)
            exposure = locked.lock(exposure, settled, self._longest_us(), self._gain_range())
            self._picam.set_controls(self._controls(exposure))
        missing = [name for name in locked.NEEDED if name not in self._picam.camera_controls]
        if missing:
            self._notice("not-locked", f"the camera has no control {', '.join(missing)}")
        self._held = exposure
        return self._apply(exposure)

    def _longest_us(self) -> int:
        return round(self._config.max_exposure_s * 1e6)

    def _controls(self, exposure: Exposure) -> dict[str, Any]:
        known = self._picam.camera_controls
        shortest_us = int(known["FrameDurationLimits"][0]) if "FrameDurationLimits" in known else 0
        if exposure.exposure_us is None:
            frame_us = (shortest_us, max(shortest_us, _AUTO_LONGEST_FRAME_US))
        else:
            frame_us = (max(shortest_us, self._shortest_frame_us(exposure.exposure_us)),) * 2
        return locked.controls(exposure, known, frame_us, self._config.lens_position)

    def _shortest_frame_us(self, exposure_us: int) -> int:
        sensor, line_ns = self._module.sensor, self._line_time_ns()
        if sensor is None:
            return exposure_us + round(MANY_LINES * line_ns / 1000)
        return sensor.shortest_frame_us(exposure_us, line_ns)

    def _gain_range(self) -> tuple[float, float]:
        low, high, _ = self._picam.camera_controls.get("AnalogueGain", (1.0, 64.0, 1.0))
        return float(low), min(float(high), self._config.max_analogue_gain)

    def _settle(self, exposure: Exposure) -> Mapping[str, Any]:
        """Metadata of the first frame at which the automatics have settled."""
        before = self._metadata()
        for _ in range(FRAMES_TO_SETTLE):
            now = self._metadata()
            if locked.has_settled(before, now, exposure):
                return now
            before = now
        self._notice(
            "not-settled", f"automatic exposure found no rest in {FRAMES_TO_SETTLE} frames"
        )
        return before

    def _apply(self, exposure: Exposure) -> Mapping[str, Any]:
        """Metadata of the first frame that was taken with the locked exposure."""
        for _ in range(FRAMES_TO_APPLY):
            metadata = self._metadata()
            if locked.is_applied(exposure, metadata):
                return metadata
        took_us = metadata.get("ExposureTime")
        detail = f"asked for {exposure.exposure_us} us, the camera takes {took_us} us"
        self._notice("not-locked", detail)
        return metadata

    def _metadata(self) -> dict[str, Any]:
        request = self._wait_for_request(None)
        try:
            metadata: dict[str, Any] = request.get_metadata()
            return metadata
        finally:
            request.release()

    def _request(self, after_ns: int) -> tuple[dict[str, Any], NDArray[np.uint8]]:
        request = self._wait_for_request(after_ns)
        try:
            return request.get_metadata(), request.make_array("main")
        finally:
            request.release()

    def _wait_for_request(self, after_ns: int | None) -> Any:
        """The next request; `after_ns` drops those whose exposure began before."""
        if self._picam is None:
            raise CameraError("the camera is closed")
        try:
            return self._picam.capture_request(wait=LONGEST_WAIT_S, flush=after_ns)
        except TimeoutError:
            self._picam.cancel_all_and_flush()  # a job left behind would keep the next frame
            raise CameraError(f"no frame arrived within {LONGEST_WAIT_S:g} s") from None
        except KeyError as error:  # picamera2's own comparison of timestamps
            raise _untimed(error.args[0]) from None

    def _frame(self, metadata: dict[str, Any], pixels: NDArray[np.uint8]) -> Frame:
        module, sensor = self._module, self._module.sensor
        exposure_us, line_ns = int(_number(metadata, "ExposureTime")), self._line_time_ns()
        timing = module.readout(metadata.get("ScalerCrop")).timing(
            int(_number(metadata, "SensorTimestamp")),
            sensor.exposure_ns(exposure_us, line_ns) if sensor else exposure_us * 1000,
            0.0 if sensor and sensor.global_shutter else line_ns,
        )
        gain = metadata.get("AnalogueGain")
        dioptres = float(metadata.get("LensPosition", 0.0))
        return Frame(
            pixels=np.ascontiguousarray(pixels[..., ::-1]) if module.swap_colours else pixels,
            timing=timing,
            tone=module.tone,
            orientation=self._config.orientation,
            sensor_model=module.model,
            analogue_gain=None if gain is None else float(gain),
            metadata=metadata,
            depth_m=1 / dioptres if dioptres >= FARTHEST_DEPTH_DIOPTRES else None,
        )

    def _line_time_ns(self) -> float:
        """The sensor's line time now: the driver's, else the configuration's, else the table's."""
        module, config = self._module, self._config
        measured_ns = self._line_clock.line_time_ns(module.mode_size[0])
        if measured_ns is not None:
            return measured_ns
        if config.line_time_us is not None:
            return config.line_time_us * 1000
        mode = module.sensor.mode(module.mode_size) if module.sensor else None
        if mode is None:
            raise CameraError(
                f"{module.model} {module.mode_size[0]}x{module.mode_size[1]}: the driver does not"
                " tell its line time: give camera.line_time_us in the configuration"
            )
        depends = ", which kernels disagree about" if mode.by_kernel else ""
        detail = f"the driver does not tell: {mode.line_time_ns / 1000:.3f} us from the table"
        self._notice("line-time-from-table", detail + depends)
        return mode.line_time_ns

    def _notice(self, name: str, detail: str) -> None:
        if name not in self._notices:
            _log.warning("%s: %s", name, detail)
        self._notices[name] = Notice(name, detail)


def _number(metadata: Mapping[str, Any], key: str) -> float:
    value = metadata.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _untimed(key)
    return value


def _untimed(key: object) -> CameraError:
    return CameraError(f"the camera's metadata has no {key}: the frame cannot be timed")
