"""How good restorations are: every bundle of a test set against its truth.

Side by side, from one run: the blurred photograph, what the pipeline makes of it, and the oracle
(the same pipeline with the exact kernel field). With `swaps`, also what it makes of wrong
gyroscope data, which must not damage the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.bundle import Bundle, read_bundle
from device.kernels.field import kernel_field
from device.restore.network import ModelBundle
from device.restore.pipeline import RestoreOptions, restore
from firmware_bridge.samples import ImuSamples
from host_training.metrics import psnr_db, ssim
from host_training.truth import Truth, list_bundles, read_truth

Pixels = NDArray[np.uint8]
BLURRED, RESTORED, ORACLE = "blurred", "restored", "oracle"


@dataclass(frozen=True)
class Quality:
    """Of one picture against the truth."""

    psnr_db: float
    ssim: float


@dataclass(frozen=True)
class Score:
    """Of one bundle.

    quality : by method; swap_psnr_db : by kind of wrong gyroscope data.
    layer_psnr_db : within what moved with the camera, by method; empty without such a layer.
    trusted_share : of the restoration that the guard kept.
    """

    name: str
    blur_px: float
    trusted_share: float
    quality: dict[str, Quality]
    swap_psnr_db: dict[str, float] = field(default_factory=dict)
    layer_psnr_db: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Judged:
    """A score with the pictures it is about."""

    score: Score
    pictures: dict[str, Pixels]
    truth: Truth


def evaluate(
    folder: Path,
    *,
    model: ModelBundle | None = None,
    options: RestoreOptions | None = None,
    swaps: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> Iterator[Judged]:
    """Restore and judge the bundles of a test set one by one.

    Raises InputError for a folder without bundles or a bundle without truth.
    """
    bundles = [read_bundle(path) for path in list_bundles(folder)]
    for index, bundle in enumerate(bundles):
        foreign = bundles[(index + 1) % len(bundles)]
        yield _judge(bundle, foreign, model, options, swaps)
        if progress is not None:
            progress(bundle.path.name, (index + 1) / len(bundles))


def _judge(
    bundle: Bundle,
    foreign: Bundle,
    model: ModelBundle | None,
    options: RestoreOptions | None,
    swaps: bool,
) -> Judged:
    truth = read_truth(bundle.path)
    exact = kernel_field(truth.track, truth.calibration, bundle.timing, depth_m=bundle.depth_m)
    restored = restore(bundle, model=model, options=options)
    pictures = {
        BLURRED: bundle.read_pixels().astype(np.uint8, copy=False),
        RESTORED: restored.pixels,
        ORACLE: restore(bundle, model=model, options=options, field=exact).pixels,
    }
    swapped = _swapped_logs(bundle, foreign) if swaps else {}
    layer = {}
    if truth.layer is not None:
        inside = truth.layer == 255
        layer = {name: psnr_db(p, truth.sharp, inside) for name, p in pictures.items()}
    score = Score(
        name=bundle.path.name,
        blur_px=truth.blur_px,
        trusted_share=float(restored.report.guard.get("trusted_share", 1.0)),
        quality={
            name: Quality(psnr_db(p, truth.sharp), ssim(p, truth.sharp))
            for name, p in pictures.items()
        },
        swap_psnr_db={
            kind: psnr_db(
                restore(replace(bundle, samples=log), model=model, options=options).pixels,
                truth.sharp,
            )
            for kind, log in swapped.items()
        },
        layer_psnr_db=layer,
    )
    return Judged(score, pictures, truth)


def _swapped_logs(bundle: Bundle, foreign: Bundle) -> dict[str, ImuSamples]:
    """Logs that are wrong: a dead sensor, one mounted the wrong way round, another photograph's."""
    own = bundle.samples
    shift_ns = (bundle.timing.mid_ns + round(bundle.calibration.timeshift_s * 1e9)) - (
        foreign.timing.mid_ns + round(foreign.calibration.timeshift_s * 1e9)
    )
    return {
        "zero": replace(own, gyro_rad_s=np.zeros_like(own.gyro_rad_s)),
        "reversed": replace(own, gyro_rad_s=-own.gyro_rad_s),
        "foreign": replace(foreign.samples, t_ns=foreign.samples.t_ns + shift_ns),
    }
