"""EXIF of a restored photograph: the original's tags kept, the measured ones completed.

Kept: everything the camera wrote, GPS included. Replaced: what the bundle knows better
(exposure, orientation, size, software). Dropped: the maker note, which holds offsets that break
when anything around it moves, the thumbnail, which would still show the blurred picture, and tags
that describe how the original file was stored. Nothing is invented: a photograph without a
date stays without one. Tag numbers and types: Exif 2.32 (CIPA DC-008-2019).
"""

from __future__ import annotations

import math
import struct
import warnings
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from device.version import software_name

if TYPE_CHECKING:
    from device.bundle import Bundle

Tag = ExifTags.Base
_EXIF_IFD, _GPS_IFD, _INTEROP_IFD = (int(ExifTags.IFD.Exif), int(ExifTags.IFD.GPSInfo), 0xA005)
# What an APP1 segment can hold: 65535 minus its own two length bytes and some room.
MAX_EXIF_BYTES = 65_000
# Storage of the original file, meaningless in ours: strips, tiles, sub-images, thumbnails,
# the raw data of a DNG (from 50706 on), XMP and ICC, which travel in segments of their own.
_STORAGE_TAGS = frozenset(
    {254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 280, 281, 284, 292, 293, 317}
    | {320, 322, 323, 324, 325, 330, 338, 339, 340, 341, 347, 512, 513, 514, 515, 529, 530, 532}
    | {700, 33421, 33422, 34675, 33723, 34377, _EXIF_IFD, _GPS_IFD}
)
_FIRST_DNG_TAG = 50706
_MAKER_NOTE, _COMPONENTS, _FLASHPIX = 37500, 37121, 40960
_PI_SENSORS = ("imx219", "imx296", "imx477", "imx500", "imx708", "ov5647", "ov9281")
_UNREADABLE = (OSError, ValueError, SyntaxError, KeyError, TypeError, struct.error)


def complete_exif(bundle: Bundle) -> bytes:
    r"""The EXIF block (with its `Exif\0\0` prefix) for the photograph restored from a bundle.

    Tags of the original that cannot be decoded or encoded again are left out; what the bundle
    itself states is always there.
    """
    exif, photo_ifd, gps_ifd = _read_original(bundle.frame_file)
    exif.update(_main_tags(bundle, exif))
    photo_ifd.update(_photo_tags(bundle, photo_ifd))
    for room_for_original in (True, False):
        block = Image.Exif()
        chosen = exif if room_for_original else _main_tags(bundle, {})
        chosen_photo = photo_ifd if room_for_original else _photo_tags(bundle, {})
        block.update(_encodable(chosen))
        block[_EXIF_IFD] = _encodable(chosen_photo)
        if gps_ifd and room_for_original:
            block[_GPS_IFD] = _encodable(gps_ifd)
        encoded = block.tobytes()
        if len(encoded) <= MAX_EXIF_BYTES:
            break
    return encoded


def read_icc_profile(frame_file: Path) -> bytes | None:
    """The colour profile inside the original, without which its colours would be read wrongly."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(frame_file) as image:
            profile = image.info.get("icc_profile")
    except _UNREADABLE:
        return None
    return profile if isinstance(profile, bytes) else None


def _read_original(
    frame_file: Path,
) -> tuple[dict[int, object], dict[int, object], dict[int, object]]:
    """The original's main, photo and GPS tags that may be kept; empty where unreadable."""
    try:
        # Pillow warns about damaged EXIF and goes on with what it could read: so do we.
        with warnings.catch_warnings(action="ignore"), Image.open(frame_file) as image:
            exif = image.getexif()
            main = {int(tag): value for tag, value in exif.items()}
            photo = {int(tag): value for tag, value in exif.get_ifd(_EXIF_IFD).items()}
            gps = {int(tag): value for tag, value in exif.get_ifd(_GPS_IFD).items()}
    except _UNREADABLE:
        return {}, {}, {}
    main = {t: v for t, v in main.items() if t not in _STORAGE_TAGS and t < _FIRST_DNG_TAG}
    photo = {t: v for t, v in photo.items() if t not in (_MAKER_NOTE, _INTEROP_IFD)}
    return main, photo, gps


def _main_tags(bundle: Bundle, original: Mapping[int, object]) -> dict[int, object]:
    tags: dict[int, object] = {
        Tag.Software: software_name(),
        Tag.Orientation: bundle.orientation,
        Tag.YCbCrPositioning: 1,
    }
    if not original.get(Tag.XResolution) or not original.get(Tag.YResolution):
        tags |= {Tag.XResolution: 72, Tag.YResolution: 72, Tag.ResolutionUnit: 2}
    sensor = bundle.sensor_model
    if sensor and sensor.lower() != "unknown" and original.get(Tag.Model, sensor) == sensor:
        tags[Tag.Model] = sensor
        if sensor.lower().startswith(_PI_SENSORS) and not original.get(Tag.Make):
            tags[Tag.Make] = "Raspberry Pi"
    return {int(tag): value for tag, value in tags.items()}


def _photo_tags(bundle: Bundle, original: Mapping[int, object]) -> dict[int, object]:
    exposure = Fraction(bundle.timing.exposure_ns, 10**9).limit_denominator(1_000_000)
    tags: dict[int, object] = {
        Tag.ExifVersion: b"0232",
        Tag.ExposureTime: IFDRational(exposure.numerator, exposure.denominator),
        Tag.ExifImageWidth: bundle.width,
        Tag.ExifImageHeight: bundle.height,
        _COMPONENTS: b"\x01\x02\x03\x00",  # Y Cb Cr, as our encoder stores them
        _FLASHPIX: b"0100",
    }
    if Tag.ColorSpace not in original:
        # What is linear in the bundle leaves as sRGB; a camera's own curve stays uncalibrated.
        tags[Tag.ColorSpace] = 1 if bundle.tone in ("srgb", "linear") else 0xFFFF
    if bundle.analogue_gain and not original.get(Tag.ISOSpeedRatings):
        # Gain 1 is taken as ISO 100, as libcamera's own applications do.
        tags[Tag.ISOSpeedRatings] = min(65535, round(100 * bundle.analogue_gain))
    if not original.get(Tag.FocalLengthIn35mmFilm):
        diagonal_px = math.hypot(bundle.width, bundle.height)
        # 43.27 mm is the diagonal of a 36 x 24 mm frame.
        tags[Tag.FocalLengthIn35mmFilm] = round(43.27 * bundle.calibration.fx / diagonal_px)
    if bundle.depth_m and not original.get(Tag.SubjectDistance):
        tags[Tag.SubjectDistance] = IFDRational(round(bundle.depth_m * 1000), 1000)
    return {int(tag): value for tag, value in tags.items()}


def _encodable(tags: Mapping[int, object]) -> dict[int, object]:
    """The tags that Pillow can write: cameras do ship 0/0 rationals and broken text."""
    kept: dict[int, object] = {}
    for tag, value in tags.items():
        if isinstance(value, float) and not math.isfinite(value):
            continue
        trial = Image.Exif()
        trial[tag] = value
        try:
            trial.tobytes()
        except (*_UNREADABLE, OverflowError, ZeroDivisionError, AttributeError):
            continue
        kept[tag] = value
    return kept
