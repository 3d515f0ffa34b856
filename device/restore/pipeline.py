"""A capture bundle to a sharp photograph: motion, kernel field, filter, network, guard, blend.

Each stage goes over the picture in strips; between them only 8- and 16-bit pictures are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from device.bundle import Bundle
from device.capture.camera import NoiseModel, Tone
from device.errors import InputError
from device.kernels.field import KernelField, SyncError, kernel_field
from device.kernels.tiling import TileGrid
from device.motion.frame_motion import FrameMotion, frame_motion
from device.notices import Notice
from device.restore.filter_stage import FilterPass, filter_photo
from device.restore.grid import grid_for
from device.restore.guard import CELL_PX
from device.restore.guard_stage import guard_photo
from device.restore.mirror import MIRRORED_BELOW, mirror_score
from device.restore.network import ModelBundle
from device.restore.network_stage import correct_photo
from device.restore.noise import estimate_noise
from device.restore.report import RestoreReport
from device.restore.tone import Pixels, from_linear, to_linear
from device.restore.working import CHANGE_UNIT, Change, WorkingPhoto, enlarge_rows, reduction_for

Progress = Callable[[str, float], None]
"""Called with the name of the stage and the share of it that is done."""

NOT_RESTORED = "not restored: the photograph as it was taken"
_BLEND_ROWS = 128
_NOISE_CROP_PX = 1536


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """threads : for the transforms and the network; guard : off only for experiments.
    reproducible : the same picture on every processor, by a filter in double precision.
    """

    threads: int = 2
    guard: bool = True
    reproducible: bool = False

    @property
    def precision(self) -> type[np.floating]:
        """Of the filter."""
        return np.float64 if self.reproducible else np.float32


@dataclass(frozen=True)
class Restoration:
    """pixels : (H, W, 3) R, G, B or (H, W), 8-bit, on the pixel grid of the photograph."""

    pixels: NDArray[np.uint8]
    report: RestoreReport
    field: KernelField


def restore(
    bundle: Bundle,
    *,
    model: ModelBundle | None = None,
    options: RestoreOptions | None = None,
    field: KernelField | None = None,
    progress: Progress | None = None,
) -> Restoration:
    """Undo the camera's motion in a photograph.

    field : use this kernel field instead of the one from the bundle's log (an oracle's, say).
    Raises InputError when the log does not cover the exposure or the frame does not decode.
    """
    # Threads work on whole tiles; a matrix library with threads of its own doubles the time.
    with threadpool_limits(limits=1, user_api="blas"):
        return _restore(bundle, model, options or RestoreOptions(), field, progress)


def _restore(
    bundle: Bundle,
    model: ModelBundle | None,
    options: RestoreOptions,
    field: KernelField | None,
    progress: Progress | None,
) -> Restoration:
    show = progress or (lambda stage, share: None)
    report = RestoreReport(str(bundle.path), bundle.width, bundle.height)
    report.reproducible = options.reproducible
    report.notices += bundle.warnings
    with report.stage("motion"):
        if field is None:
            motion, field = measured_field(bundle)
            report.notices += motion.notices
            report.motion |= _motion_json(motion)
        _describe_field(field, report)
    with report.stage("decode"):
        pixels = bundle.read_pixels()
    with report.stage("noise"):
        noise, source = photo_noise(bundle, pixels)
        report.noise = {"shot": noise.shot, "read": noise.read, "source": source}
    photo = WorkingPhoto(pixels, bundle.tone, reduction_for(field.usual_extent_px))
    report.working_scale = 1.0 / photo.factor
    working_field = field.scaled(report.working_scale)
    grid = grid_for(working_field, pixels.shape[1])
    model = _suited(model, photo, report)
    if options.guard and _mirrored(photo, working_field, noise, grid, options.threads, report):
        report.model_note, report.guard = NOT_RESTORED, {"trusted_share": 0.0}
        return Restoration(_as_taken(pixels, bundle.tone), report, field)
    change, expected_share = _proposed(
        photo, working_field, noise, grid, model, options, report, show
    )
    with report.stage("guard"):
        trust = None
        if options.guard:
            verdict = guard_photo(
                photo, change, working_field, noise, expected_share, grid,
                rings=model is None, threads=options.threads, show=show,
            )  # fmt: skip
            trust, report.guard = verdict.trust, verdict.to_json()
    with report.stage("blend"):
        result = _blend(photo, change, trust, options.threads, show)
    return Restoration(result, report, field)


def unrestored(bundle: Bundle, reason: Notice) -> tuple[NDArray[np.uint8], RestoreReport]:
    """The photograph as it was taken, for a camera that has no usable motion to undo."""
    report = RestoreReport(str(bundle.path), bundle.width, bundle.height)
    report.notices += [*bundle.warnings, reason]
    report.model_note = NOT_RESTORED
    return _as_taken(bundle.read_pixels(), bundle.tone), report


def _as_taken(pixels: Pixels, tone: Tone) -> NDArray[np.uint8]:
    """The photograph in output codes."""
    if pixels.dtype == np.uint8 and tone != "linear":
        return pixels.astype(np.uint8, copy=False)
    return from_linear(to_linear(pixels, tone), _output_tone(tone))


def measured_field(bundle: Bundle) -> tuple[FrameMotion, KernelField]:
    """The motion over the frame from the bundle's log and calibration, and its kernel field.

    Raises InputError when the log does not cover the exposure.
    """
    motion = frame_motion(
        bundle.samples,
        bundle.calibration,
        bundle.timing,
        depth_m=bundle.depth_m,
        source=bundle.path / "imu.gcsv",
    )
    field = kernel_field(
        motion.track,
        bundle.calibration,
        bundle.timing,
        depth_m=bundle.depth_m,
        gaps_ns=motion.gaps_ns,
        sync=SyncError(rate_rad_s=motion.bias.sigma_rad_s),
    )
    return motion, field


def _motion_json(motion: FrameMotion) -> dict[str, object]:
    return {
        "gyro_rate_hz": round(motion.gyro_rate_hz, 2),
        "bias_deg_s": np.rad2deg(motion.bias.rate_rad_s).round(4).tolist(),
        "bias_sigma_deg_s": round(float(np.rad2deg(motion.bias.sigma_rad_s)), 4),
        "bias_source": motion.bias.source,
        "rotation_sigma_deg_max": round(float(np.rad2deg(motion.rotation_sigma_rad).max()), 4),
    }


def _describe_field(field: KernelField, report: RestoreReport) -> None:
    lengths = field.length_px[field.valid]
    if not lengths.size:
        raise InputError(report.bundle, "imu.gcsv", "a gap in every row's exposure", "samples")
    report.motion |= {
        "blur_px_median": round(float(np.median(lengths)), 2),
        "blur_px_max": round(float(lengths.max()), 2),
        "valid_share": round(float(field.valid.mean()), 4),
    }
    report.sync = {
        "path_sigma_px_median": round(float(np.median(field.sigma_px)), 3),
        "path_sigma_px_max": round(float(field.sigma_px.max()), 3),
    }


def photo_noise(bundle: Bundle, pixels: Pixels) -> tuple[NoiseModel, str]:
    """The photograph's noise and where that is known from: capture.json, or its own grain."""
    if bundle.noise is not None:
        return bundle.noise, "capture.json"
    top = max(0, (pixels.shape[0] - _NOISE_CROP_PX) // 2)
    left = max(0, (pixels.shape[1] - _NOISE_CROP_PX) // 2)
    middle = pixels[top : top + _NOISE_CROP_PX, left : left + _NOISE_CROP_PX]
    green = middle[..., 1] if middle.ndim == 3 else middle
    return estimate_noise(to_linear(green, bundle.tone)), "estimated"


def _suited(
    model: ModelBundle | None, photo: WorkingPhoto, report: RestoreReport
) -> ModelBundle | None:
    """The model where it can run on this photograph; otherwise the report says why none does."""
    if model is not None and photo.channels == 3:
        return model
    place = "" if model is None else " for a grey picture"
    report.model_note = f"no network{place}: the result is the inverse filter's"
    return None


def _mirrored(
    photo: WorkingPhoto,
    field: KernelField,
    noise: NoiseModel,
    grid: TileGrid,
    threads: int,
    report: RestoreReport,
) -> bool:
    """Whether the motion fits the picture only the wrong way round; noted in the report then."""
    with report.stage("mirror"):
        score = mirror_score(photo, field, noise, grid, threads=threads)
    report.sync["mirror_score"] = round(score, 2)
    if score >= MIRRORED_BELOW:
        return False
    detail = (
        f"the picture fits the mirror image of the measured motion better (score {score:.1f}):"
        " is the motion sensor mounted as the calibration says?"
    )
    report.notices.append(Notice("motion-mirrored", detail))
    return True


def _proposed(
    photo: WorkingPhoto,
    field: KernelField,
    noise: NoiseModel,
    grid: TileGrid,
    model: ModelBundle | None,
    options: RestoreOptions,
    report: RestoreReport,
    show: Progress,
) -> tuple[Change, NDArray[np.float64]]:
    """The change that filter and network propose, and the share of FilteredPhoto."""
    threads, precision = options.threads, options.precision
    if model is None:
        with report.stage("filter"):
            filtered = filter_photo(
                photo, field, noise, grid, threads=threads, show=show, precision=precision
            )
        report.stages_s["network"] = 0.0
        return filtered.change, filtered.expected_share
    report.model = {"name": model.manifest.name, "sha256": model.running.sha256}
    # The network draws the filter's rows as it goes: they are never held for the whole picture.
    rows = FilterPass(
        photo, field, noise, grid, threads=threads, underdamped=True, precision=precision
    )
    with report.stage("network"):
        change = correct_photo(
            photo, report.drawn("filter", rows), field, noise, model, threads=threads, show=show
        )
    return change, rows.expected_share


def _blend(
    photo: WorkingPhoto,
    change: Change,
    trust: NDArray[np.float32] | None,
    threads: int,
    show: Progress,
) -> NDArray[np.uint8]:
    """The photograph plus the trusted part of the change, in output codes."""
    height, width = int(photo.pixels.shape[0]), int(photo.pixels.shape[1])
    result = np.empty(photo.pixels.shape, np.uint8)
    tone = _output_tone(photo.tone)
    cell = CELL_PX * photo.factor

    def blend_rows(first: int) -> int:
        last = min(first + _BLEND_ROWS, height)
        step = enlarge_rows(change, photo.factor, first, last)[:, :width]
        if trust is not None:
            step *= enlarge_rows(trust, cell, first, last)[:, :width, None]
        step *= CHANGE_UNIT
        linear = to_linear(photo.pixels[first:last], photo.tone)
        linear += step.reshape(linear.shape)
        result[first:last] = from_linear(linear, tone)
        return last

    with ThreadPoolExecutor(threads) as pool:
        for last in pool.map(blend_rows, range(0, height, _BLEND_ROWS)):
            show("blend", last / height)
    return result


def _output_tone(tone: Tone) -> Tone:
    """Viewers take an 8-bit picture for sRGB; a camera's own curve is kept as it came."""
    return "srgb" if tone == "linear" else tone
