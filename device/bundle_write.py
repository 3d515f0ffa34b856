"""Writing a capture bundle: whole and on the disk, or not there at all.

Failure policy: everything is written into a hidden folder beside the target, every file and the
folder are synced, then the folder is renamed. Whatever fails before the rename leaves nothing
behind; an existing bundle is never replaced.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from device import frame_file
from device.calibration import CameraCalibration, write_calibration
from device.capture.camera import Frame
from device.capture_json import Capture, capture_text
from device.errors import InputError
from device.notices import Notice
from firmware_bridge.errors import LogFormatError
from firmware_bridge.gcsv import WT901_ASCALE_G, WT901_GSCALE_RAD_S, write_gcsv
from firmware_bridge.samples import ImuSamples
from firmware_bridge.whole_file import sync

FRAME_FORMATS = ("jpg", "png")


def write_bundle(
    folder: str | os.PathLike[str],
    frame: Frame,
    samples: ImuSamples,
    calibration: CameraCalibration,
    *,
    frame_format: Literal["jpg", "png"] = "jpg",
    quality: int = 97,
    gscale: float = WT901_GSCALE_RAD_S,
    ascale: float = WT901_ASCALE_G,
    exif: bytes | None = None,
    warnings: Sequence[Notice] = (),
    extra: Mapping[str, Any] | None = None,
    picture: Path | None = None,
) -> Path:
    """Write one photograph with its log and calibration as the bundle `folder`.

    samples : the log, IMU frame; without rows when the sensor was missing.
    gscale, ascale : rad/s and g a count of the log; the WT901's own keep its integers.
    exif : EXIF block to put into the picture.
    warnings : what the camera or importer noticed.
    extra : further keys of capture.json; known keys are never replaced.
    picture : the file the camera wrote; it is kept byte for byte and `frame.pixels` only
        tell its size. frame_format, quality and exif are then not used.

    Returns the folder. Raises InputError when it exists already or a value does not fit the
    format, OSError when it cannot be written; nothing is left behind then.
    """
    folder = Path(folder)
    name = f"frame.{frame_format}" if picture is None else f"frame{picture.suffix.lower()}"
    if picture is None and frame_format not in FRAME_FORMATS:
        raise InputError(folder, "frame_format", frame_format, "jpg or png")
    _require_match(folder, frame, calibration)
    text = capture_text(_capture(frame, name, warnings, dict(extra or {})))
    with new_folder(folder) as temporary:
        if picture is not None:
            shutil.copyfile(picture, temporary / name)
        elif frame_format == "jpg":
            data = frame_file.encode_jpeg(frame.pixels, quality, exif)
            (temporary / name).write_bytes(data)
        else:
            (temporary / name).write_bytes(frame_file.encode_png(frame.pixels, exif))
        _write_log(temporary / "imu.gcsv", samples, gscale, ascale)
        write_calibration(temporary / "camera.yaml", calibration)
        (temporary / "capture.json").write_text(text, encoding="utf-8")
    return folder


def _write_log(path: Path, samples: ImuSamples, gscale: float, ascale: float) -> None:
    try:
        write_gcsv(path, samples, gscale=gscale, ascale=ascale)
    except LogFormatError as error:
        raise InputError(path.name, error.field, error.found, error.expected) from None


def _require_match(folder: Path, frame: Frame, calibration: CameraCalibration) -> None:
    size = (frame.width, frame.height)
    if (calibration.width, calibration.height) != size:
        found = f"{calibration.width}x{calibration.height}"
        raise InputError(folder, "calibration size", found, f"{size[0]}x{size[1]} as the frame")
    if frame.timing.height != frame.height:
        raise InputError(folder, "timing.height", frame.timing.height, f"{frame.height} rows")


def _capture(frame: Frame, name: str, warnings: Sequence[Notice], extra: dict[str, Any]) -> Capture:
    return Capture(
        file=name,
        width=frame.width,
        height=frame.height,
        tone=frame.tone,
        orientation=frame.orientation,
        timing=frame.timing,
        sensor_model=frame.sensor_model,
        analogue_gain=frame.analogue_gain,
        noise=frame.noise,
        depth_m=frame.depth_m,
        metadata=dict(frame.metadata),
        warnings=tuple(warnings),
        extra=extra,
    )


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder to fill that becomes `folder`, synced, when the block ends well."""
    if folder.exists():
        raise InputError(folder, "folder", "one that exists", "a new name")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield temporary
        # mkdtemp's folder is for its owner alone; a bundle is for whom the umask allows.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o777 & ~mask)
        for path in temporary.iterdir():
            sync(path)
        sync(temporary)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync(folder.parent)
