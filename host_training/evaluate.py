"""How good restorations are: every bundle of a test set against its truth.

Every method restores every photograph from several kernel fields. They are made of the same
photograph and differ in nothing but what is said of its motion:

    measured    from the bundle's log and calibration: what a camera knows
    exact       the true one, the oracle
    zero, reversed, foreign             wrong gyroscope data, which must not damage the picture
    no error, time shift, bias, focal length, axes
                from the true calibration but for the named part, which is the bundle's
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.bundle import Bundle, read_bundle
from device.calibration import CameraCalibration
from device.errors import InputError
from device.kernels.field import KernelField, kernel_field
from device.restore.pipeline import measured_field
from host_training.methods import Method
from host_training.metrics import psnr_db, ssim
from host_training.residual import reblur_residual
from host_training.truth import Truth, list_bundles, read_truth

Pixels = NDArray[np.uint8]

MEASURED, EXACT = "measured", "exact"
SWAPS = ("zero", "reversed", "foreign")
ERRORS = ("no error", "time shift", "bias", "focal length", "axes")
BLURRED, TRUTH = "blurred", "truth"


@dataclass(frozen=True)
class Quality:
    """Of one picture against the truth.

    residual : of the re-blurred picture against the photograph, in units of the noise; None where
        clipping leaves nothing to judge.
    trusted_share : of the restoration that the guard kept.
    """

    psnr_db: float
    ssim: float
    residual: float | None
    trusted_share: float = 1.0


@dataclass(frozen=True)
class Score:
    """Of one bundle.

    quality : of what each method makes of the measured field; of BLURRED, the photograph.
    psnr_db : by kernel field (EXACT, SWAPS, ERRORS), by method; brief ones are in EXACT alone.
    truth_residual : of the truth itself, the least there is.
    layer_psnr_db : within what moved with the camera, as `quality`; empty without such a layer.
    """

    name: str
    blur_px: float
    quality: dict[str, Quality]
    psnr_db: dict[str, dict[str, float]]
    truth_residual: float | None
    layer_psnr_db: dict[str, float] = field(default_factory=dict)

    def gain_db(self, method: str, told: str = MEASURED) -> float:
        """PSNR of a method minus the photograph's."""
        before_db = self.quality[BLURRED].psnr_db
        if told == MEASURED:
            return self.quality[method].psnr_db - before_db
        return self.psnr_db[told][method] - before_db


@dataclass(frozen=True)
class Judged:
    """A score with the pictures it is about: measured and exact, by method; BLURRED; TRUTH."""

    score: Score
    pictures: dict[tuple[str, str], Pixels]

    def picture(self, method: str, told: str = MEASURED) -> Pixels:
        """What a method makes of a kernel field; the photograph and the truth know no field."""
        return self.pictures[method, told]


def evaluate(
    folder: Path,
    methods: Sequence[Method],
    *,
    swaps: bool = False,
    errors: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> Iterator[Judged]:
    """Restore and judge the bundles of a test set one by one.

    swaps, errors : from those kernel fields too.
    Raises InputError for a folder without bundles, a bundle without truth, and one bundle alone
    when it should be given another's log.
    """
    bundles = [read_bundle(path) for path in list_bundles(folder)]
    if swaps and len(bundles) < 2:
        raise InputError(folder, "bundles", "one", "two or more, to swap their logs")
    for index, bundle in enumerate(bundles):
        truth = read_truth(bundle.path)
        told = {MEASURED: bundle}
        if swaps:
            told |= swapped_logs(bundle, bundles[(index + 1) % len(bundles)])
        if errors:
            told |= single_errors(bundle, truth.calibration)
        fields = {name: measured_field(changed)[1] for name, changed in told.items()}
        fields[EXACT] = exact_field(bundle, truth)
        yield _judge(bundle, truth, methods, fields)
        if progress is not None:
            progress(bundle.path.name, (index + 1) / len(bundles))


def exact_field(bundle: Bundle, truth: Truth) -> KernelField:
    """The true paths of a simulated photograph."""
    return kernel_field(truth.track, truth.calibration, bundle.timing, depth_m=bundle.depth_m)


def _judge(
    bundle: Bundle, truth: Truth, methods: Sequence[Method], fields: dict[str, KernelField]
) -> Judged:
    photo: Pixels = bundle.read_pixels().astype(np.uint8, copy=False)
    quality = {BLURRED: _quality(bundle, photo, truth, fields[EXACT])}
    told_psnr_db: dict[str, dict[str, float]] = {told: {} for told in fields if told != MEASURED}
    pictures = {(BLURRED, MEASURED): photo, (TRUTH, MEASURED): truth.sharp}
    for method in methods:
        for told, kernel in fields.items():
            if method.brief and told not in (MEASURED, EXACT):
                continue
            restored = method.restore(bundle, kernel)
            if told == MEASURED:
                found = _quality(bundle, restored.pixels, truth, fields[EXACT])
                quality[method.name] = replace(found, trusted_share=restored.trusted_share)
            else:
                told_psnr_db[told][method.name] = psnr_db(restored.pixels, truth.sharp)
            if told in (MEASURED, EXACT):
                pictures[method.name, told] = restored.pixels
    layer = {}
    if truth.layer is not None:
        inside = truth.layer == 255
        layer = {name: psnr_db(pictures[name, MEASURED], truth.sharp, inside) for name in quality}
    score = Score(
        name=bundle.path.name,
        blur_px=truth.blur_px,
        quality=quality,
        psnr_db=told_psnr_db,
        truth_residual=reblur_residual(bundle, truth.sharp, fields[EXACT]),
        layer_psnr_db=layer,
    )
    return Judged(score, pictures)


def _quality(bundle: Bundle, pixels: Pixels, truth: Truth, exact: KernelField) -> Quality:
    return Quality(
        psnr_db=psnr_db(pixels, truth.sharp),
        ssim=ssim(pixels, truth.sharp),
        residual=reblur_residual(bundle, pixels, exact),
    )


def swapped_logs(bundle: Bundle, foreign: Bundle) -> dict[str, Bundle]:
    """With wrong logs: a dead sensor, one mounted the wrong way round, another photograph's."""
    own = bundle.samples
    shift_ns = (bundle.timing.mid_ns + round(bundle.calibration.timeshift_s * 1e9)) - (
        foreign.timing.mid_ns + round(foreign.calibration.timeshift_s * 1e9)
    )
    logs = (
        replace(own, gyro_rad_s=np.zeros_like(own.gyro_rad_s)),
        replace(own, gyro_rad_s=-own.gyro_rad_s),
        replace(foreign.samples, t_ns=foreign.samples.t_ns + shift_ns),
    )
    return {name: replace(bundle, samples=log) for name, log in zip(SWAPS, logs, strict=True)}


def single_errors(bundle: Bundle, true: CameraCalibration) -> dict[str, Bundle]:
    """With the true calibration, and with that of which one part is as wrong as the bundle's."""
    given = bundle.calibration
    calibrations = (
        true,
        replace(true, timeshift_s=given.timeshift_s),
        replace(true, gyro_bias_rad_s=given.gyro_bias_rad_s),
        replace(true, fx=given.fx, fy=given.fy),
        replace(true, T_cam_imu=given.T_cam_imu),
    )
    return {
        name: replace(bundle, calibration=calibration)
        for name, calibration in zip(ERRORS, calibrations, strict=True)
    }
