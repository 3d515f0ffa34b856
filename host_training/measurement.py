"""A rendered scene as the Pi gets it: noise, clipping, codes, JPEG, a wrong log, the filter.

The same scene can be measured any number of times, each with noise and errors of its own. Field
and filter are the device's own code, so a network is trained on exactly what it will be given.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from device.capture.camera import NoiseModel
from device.capture.develop import develop, noise_at_gain
from device.capture.timing import FrameTiming
from device.frame_file import encode_jpeg
from device.kernels.encode import PATHS_STRIDE_PX
from device.kernels.field import KernelField, SyncError, kernel_field
from device.motion.frame_motion import frame_motion
from device.restore.cells import cell_means
from device.restore.filter_stage import filter_photo
from device.restore.grid import grid_for
from device.restore.noise import estimate_noise, noise_variance
from device.restore.tone import LUMINANCE, coded, to_linear
from device.restore.working import CHANGE_UNIT, WorkingPhoto
from firmware_bridge.samples import ImuSamples
from host_training.sensor_log import CalibrationErrors, miscalibrated, sensor_log
from host_training.synthesize import RenderedScene, log_uniform

Image = NDArray[np.float32]

_LOG_MARGIN_NS = 150_000_000
_TRIES = 4
LARGEST_ERRORS = CalibrationErrors(
    time_shift_s=3e-3, bias_deg_s=0.3, focal_share=0.01, axis_deg=0.5
)
"""Of a calibration that was done with less care than it should be."""


@dataclass(frozen=True)
class MeasurementErrors:
    """How wrong measurements are at full strength.

    calibration : the largest errors; each is a random share of it, the square of a number that is
    uniform from 0 to 1: half of them are below a quarter, as after a careful calibration.
    slow_share : of logs at 100 Hz instead of 200. lost_share : of samples that never arrive.
    line_time_share : relative error of the rows' read-out time.
    still_share : of measurements with no motion data (a zero field). reversed_share : of a sensor
    mounted the wrong way round. foreign_share : with another motion's, the true paths turned and
    stretched at random.
    unknown_noise_share : where the noise is estimated from the picture.
    jpeg_share : of pictures that went through a JPEG of `jpeg_quality`.
    """

    calibration: CalibrationErrors = LARGEST_ERRORS
    line_time_share: float = 0.02
    slow_share: float = 0.2
    lost_share: float = 0.01
    still_share: float = 0.03
    reversed_share: float = 0.05
    foreign_share: float = 0.06
    unknown_noise_share: float = 0.1
    gain: tuple[float, float] = (1.0, 10.0)
    jpeg_share: float = 0.75
    jpeg_quality: tuple[int, int] = (88, 97)


@dataclass(frozen=True)
class Measured:
    """What the Pi knows of a scene after its filter; all pictures (P, P, 3).

    blurred, sharp : uint8 sRGB. filtered : float16, sRGB-coded 0..1.
    underdamped : (P, P), likewise, the luminance under light damping.
    noise : the model the Pi uses, of linear light at the working scale.
    """

    blurred: NDArray[np.uint8]
    filtered: NDArray[np.float16]
    underdamped: NDArray[np.float16]
    sharp: NDArray[np.uint8]
    field: KernelField
    noise: NoiseModel
    blur_px: float

    def noise_cells(self, rows: slice, columns: slice) -> Image:
        """(1, rows / 8, columns / 8) standard deviation of the noise, as the device gives it."""
        linear = to_linear(self.blurred[rows, columns], "srgb")
        level = cell_means(linear.mean(axis=2), PATHS_STRIDE_PX)
        return np.asarray(np.sqrt(noise_variance(level, self.noise, "srgb"))[None], np.float32)


def measure(
    scene: RenderedScene,
    errors: MeasurementErrors,
    rng: np.random.Generator,
    *,
    strength: float = 1.0,
) -> Measured:
    """Photograph a scene, log its motion and filter it.

    strength : 0..1, scales the errors of log and calibration; 0 gives the exact field, though
    still through a gyroscope's samples. Noise of the picture is not scaled.
    """
    truth = noise_at_gain(log_uniform(errors.gain, rng))
    blurred = develop(scene.light.astype(np.float32), "srgb", truth, rng)
    if rng.random() < errors.jpeg_share:
        blurred = _through_jpeg(blurred, int(rng.integers(*errors.jpeg_quality)))
    noise = truth
    if rng.random() < errors.unknown_noise_share:
        noise = estimate_noise(to_linear(blurred[..., 1], "srgb"))
    field = _measured_field(scene, errors, strength, rng)
    filtered, underdamped = _filtered(blurred, field, noise, scene.frame_width_px)
    return Measured(
        blurred=blurred,
        filtered=filtered,
        underdamped=underdamped,
        sharp=scene.sharp,
        field=field,
        noise=noise,
        blur_px=scene.blur_px,
    )


def _measured_field(
    scene: RenderedScene, errors: MeasurementErrors, strength: float, rng: np.random.Generator
) -> KernelField:
    """The field that the Pi computes from the log, without gaps: there no network is asked."""
    kind = rng.random()
    for _ in range(_TRIES):
        samples = _log(scene, errors, strength, rng)
        calibration = miscalibrated(
            scene.calibration, _drawn(errors.calibration, strength, rng), rng
        )
        timing = _misread(scene.timing, strength * errors.line_time_share, rng)
        motion = frame_motion(samples, calibration, timing)
        field = kernel_field(
            motion.track,
            calibration,
            timing,
            gaps_ns=motion.gaps_ns,
            sync=SyncError(rate_rad_s=motion.bias.sigma_rad_s),
        )
        if field.valid.all():
            break
    else:
        field = scene.field
    if kind < errors.still_share:
        return replace(field, paths_px=np.zeros_like(field.paths_px))
    kind -= errors.still_share
    if kind < errors.reversed_share * strength:
        return replace(field, paths_px=-field.paths_px)
    kind -= errors.reversed_share * strength
    if kind < errors.foreign_share * strength:
        return replace(field, paths_px=_foreign(field.paths_px, rng))
    return field


def _misread(timing: FrameTiming, largest: float, rng: np.random.Generator) -> FrameTiming:
    wrong = 1.0 + largest * rng.uniform(-1.0, 1.0)
    return replace(timing, line_time_ns=timing.line_time_ns * wrong)


def _foreign(paths_px: Image, rng: np.random.Generator) -> Image:
    """All paths (..., 2) turned by one angle and stretched by one factor of 1/2 to 2."""
    angle, factor = rng.uniform(-np.pi, np.pi), log_uniform((0.5, 2.0), rng)
    cos, sin = factor * np.cos(angle), factor * np.sin(angle)
    return np.asarray(paths_px @ np.array([[cos, sin], [-sin, cos]]), np.float32)


def _log(
    scene: RenderedScene, errors: MeasurementErrors, strength: float, rng: np.random.Generator
) -> ImuSamples:
    slow = rng.random() < errors.slow_share * strength
    samples = sensor_log(
        scene.source,
        scene.calibration,
        scene.timing.start_ns - _LOG_MARGIN_NS,
        scene.timing.end_ns + _LOG_MARGIN_NS,
        rng,
        rate_hz=100.0 if slow else 200.0,
    )
    arrived = rng.random(len(samples)) >= errors.lost_share * strength
    # The ends stay: a log that does not cover the exposure is refused before any network.
    arrived[[0, -1]] = True
    return ImuSamples(samples.t_ns[arrived], samples.gyro_rad_s[arrived], samples.acc_g[arrived])


def _drawn(
    largest: CalibrationErrors, strength: float, rng: np.random.Generator
) -> CalibrationErrors:
    time, bias, focal, axis = strength * np.square(rng.random(4))
    return CalibrationErrors(
        time_shift_s=largest.time_shift_s * time,
        bias_deg_s=largest.bias_deg_s * bias,
        focal_share=largest.focal_share * focal,
        axis_deg=largest.axis_deg * axis,
    )


def _through_jpeg(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    data = np.frombuffer(encode_jpeg(pixels, quality), np.uint8)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None  # it was encoded a line ago
    return np.ascontiguousarray(decoded[:, :, ::-1], dtype=np.uint8)


def _filtered(
    blurred: NDArray[np.uint8], field: KernelField, noise: NoiseModel, frame_width_px: int
) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    """The filter's result (P, P, 3) and its underdamped luminance (P, P)."""
    photo = WorkingPhoto(blurred, "srgb", 1)
    grid = grid_for(field, frame_width_px)
    found = filter_photo(
        photo, field, noise, grid,
        threads=1, show=lambda stage, share: None, underdamped=True,
    )  # fmt: skip
    assert found.underdamped is not None
    linear = to_linear(blurred, "srgb")
    luminance = linear @ LUMINANCE + CHANGE_UNIT * found.underdamped
    filtered = coded(linear + CHANGE_UNIT * found.change, "srgb")
    return filtered.astype(np.float16), coded(luminance, "srgb").astype(np.float16)
