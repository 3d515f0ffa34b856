"""Real photographs with what is known of their motion: no truth, so they are looked at.

Beside the pictures stands how well each result, blurred again with the measured field, explains
the photograph. That is no measure of quality (the photograph itself, hardly blurred, does well),
but a result that explains less than its neighbour has invented something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device.bundle import Bundle, read_bundle
from device.capture.scene import read_photograph
from device.importers.deepgyro import import_deepgyro
from device.importers.nexus import import_nexus
from device.importers.phone_video import import_phone_video
from device.kernels.field import KernelField
from device.restore.pipeline import measured_field
from host_training.blur_fields import photograph_alone, read_blur_field
from host_training.evaluate import BLURRED, Pixels
from host_training.methods import Method
from host_training.residual import reblur_residual
from host_training.tables import residual_text, table

MOST_OF_A_RECORDING = 5


@dataclass(frozen=True)
class RealPhoto:
    """credit : author and licence where it may be published, else None."""

    name: str
    bundle: Bundle
    field: KernelField
    credit: str | None

    @property
    def recording(self) -> str:
        """What the photograph is part of."""
        return self.name.split("/")[0]

    @property
    def blur_px(self) -> float:
        """Median length of the paths."""
        return float(np.median(self.field.length_px[self.field.valid]))


@dataclass(frozen=True)
class RealResult:
    """pictures, residual : by method and for BLURRED; trusted_share : by method."""

    photo: RealPhoto
    pictures: dict[str, Pixels]
    residual: dict[str, float | None]
    trusted_share: dict[str, float]


@dataclass(frozen=True)
class _Recording:
    folder: str
    load: Callable[[Path, Path], list[tuple[Bundle, KernelField]]]
    credit: str | None


def _imported(
    importer: Callable[[Path, Path], list[Path]],
) -> Callable[[Path, Path], list[tuple[Bundle, KernelField]]]:
    def load(source: Path, scratch: Path) -> list[tuple[Bundle, KernelField]]:
        paths = importer(source, scratch / source.name)
        step = max(1, -(-len(paths) // MOST_OF_A_RECORDING))
        bundles = [read_bundle(path) for path in paths[::step]]
        return [(bundle, measured_field(bundle)[1]) for bundle in bundles]

    return load


def _with_blur_fields(source: Path, scratch: Path) -> list[tuple[Bundle, KernelField]]:
    return [
        (
            photograph_alone(read_photograph(picture), scratch / f"{picture.stem}.capture"),
            read_blur_field(source / "blurx" / picture.name, source / "blury" / picture.name),
        )
        for picture in sorted((source / "blurred").glob("*.png"))
    ]


_RECORDINGS = (
    _Recording(
        "galaxy_nexus_chart",
        _imported(import_nexus),
        "vladiant/ImageDeblurring, MIT, (c) 2021 Vladislav Antonov",
    ),
    _Recording(
        "phone_video_20200109",
        _imported(import_phone_video),
        "lhaippp/gyro-video-stabilization, MIT, (c) 2023 Li Haipeng",
    ),
    # Published for research without a licence: judged, never redistributed.
    _Recording("deepgyro_raw", _imported(import_deepgyro), None),
    _Recording("deepgyro_paper", _with_blur_fields, None),
)


def read_real_photographs(folder: Path, scratch: Path) -> tuple[list[RealPhoto], list[str]]:
    """The photographs below a folder, at most five of a recording, and what is missing, in words.

    scratch : an empty folder that gets the bundles made of recordings.
    Raises InputError when a recording that is there is broken.
    """
    photos, missing = [], []
    for recording in _RECORDINGS:
        source = folder / recording.folder
        if not source.is_dir():
            missing.append(f"{recording.folder}: not in {folder}")
            continue
        for bundle, field in recording.load(source, scratch):
            name = f"{recording.folder}/{bundle.path.stem}"
            photos.append(RealPhoto(name, bundle, field, recording.credit))
    return photos, missing


def restore_real(photos: Sequence[RealPhoto], methods: Sequence[Method]) -> Iterator[RealResult]:
    """Restore photographs with every method, one by one."""
    for photo in photos:
        restored = {method.name: method.restore(photo.bundle, photo.field) for method in methods}
        pictures = {BLURRED: photo.bundle.read_pixels().astype(np.uint8, copy=False)}
        pictures |= {name: found.pixels for name, found in restored.items()}
        yield RealResult(
            photo,
            pictures,
            {
                name: reblur_residual(photo.bundle, picture, photo.field)
                for name, picture in pictures.items()
            },
            {name: found.trusted_share for name, found in restored.items()},
        )


def real_table(results: Sequence[RealResult]) -> str:
    """What the re-blurred results leave over, in units of the noise, in Markdown."""
    methods = list(results[0].trusted_share)
    rows = []
    for result in results:
        row = [result.photo.name, f"{result.photo.blur_px:.0f} px"]
        row.append(residual_text(result.residual[BLURRED]))
        for name in methods:
            kept = f", {100 * result.trusted_share[name]:.0f} %"
            row.append(residual_text(result.residual[name]) + kept)
        rows.append(row)
    return "\n".join(table(["", "blur", BLURRED, *methods], rows))
