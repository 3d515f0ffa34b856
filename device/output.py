"""Photographs and reports on disk: whole or not there at all.

Failure policy: a file is written under a temporary name in its own folder, synced, renamed over
its final name, and the folder is synced. Whatever goes wrong before the rename (a full disk, a
removed card, Ctrl-C), the temporary file is removed and an older file of that name is untouched.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from device.errors import InputError
from device.exif import complete_exif, read_icc_profile
from firmware_bridge.whole_file import whole_file

if TYPE_CHECKING:
    from device.bundle import Bundle

JPEG_SUFFIXES = (".jpg", ".jpeg")
PHOTO_SUFFIXES = (*JPEG_SUFFIXES, ".png")


def write_photo(
    path: Path, pixels: NDArray[np.uint8], *, exif_source: Bundle, quality: int = 95
) -> None:
    """Write a restored photograph as JPEG (4:4:4) or PNG, by its suffix, with complete EXIF.

    pixels : (H, W, 3) uint8 RGB or (H, W) uint8 grey, rows as in the bundle's frame: the
        orientation is a tag, the picture is not turned. Never changed.
    Needs one more copy of the picture and the encoded file in memory, nothing else.
    Raises InputError for another suffix, OSError when the file cannot be written.
    """
    check_photo_name(path)
    exif = complete_exif(exif_source)
    # A profile of linear values does not fit the sRGB they were turned into.
    icc = None if exif_source.tone == "linear" else read_icc_profile(exif_source.frame_file)
    encoded = _encode(pixels, path.suffix.lower(), quality).data
    if path.suffix.lower() == ".png":
        end_of_header = 8 + 25  # the signature, then IHDR: 13 bytes of data and 12 of frame
        extra = _png_profile(icc) + _png_chunk(b"eXIf", exif[len(b"Exif\0\0") :])
    else:
        end_of_header = 2  # the start-of-image marker
        if bytes(encoded[2:4]) == b"\xff\xe0":  # the encoder's own JFIF block stays first
            end_of_header = 4 + int.from_bytes(encoded[4:6], "big")
        extra = _jpeg_segment(0xE1, exif) + _jpeg_profile(icc)
    write_atomic(path, encoded[:end_of_header], extra, encoded[end_of_header:])


def check_photo_name(path: Path) -> None:
    """Raise InputError unless the name says JPEG or PNG."""
    if path.suffix.lower() not in PHOTO_SUFFIXES:
        raise InputError(path, "suffix", path.suffix or "none", " or ".join(PHOTO_SUFFIXES))


def write_report(path: Path, report: Mapping[str, object]) -> None:
    """Write a report as JSON that a person can read too. Raises OSError."""
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomic(path, text.encode() + b"\n")


def write_atomic(path: Path, *parts: bytes | memoryview) -> None:
    """Write the parts one after the other as the file `path`, or leave everything as it was."""
    try:
        with whole_file(path) as file:
            for part in parts:
                file.write(part)
    except OSError as error:
        # The person knows the final name, not the temporary one.
        raise OSError(error.errno, error.strerror, str(path)) from error


def _encode(pixels: NDArray[np.uint8], suffix: str, quality: int) -> NDArray[np.uint8]:
    """The file's bytes without metadata: (N,) uint8."""
    stored = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    if suffix == ".png":
        options = [cv2.IMWRITE_PNG_COMPRESSION, 3]
    else:
        # Full-size chroma: half-size chroma would blur the colour edges again.
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, encoded = cv2.imencode(suffix, stored, options)
    if not done:
        raise OSError(f"the picture could not be encoded as {suffix}")
    return np.asarray(encoded, np.uint8).reshape(-1)


def _jpeg_segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def _jpeg_profile(icc: bytes | None) -> bytes:
    """The colour profile as APP2 segments (ICC.1:2010, annex B.4)."""
    if not icc:
        return b""
    size = 65_000
    chunks = [icc[start : start + size] for start in range(0, len(icc), size)]
    if len(chunks) > 255:
        return b""
    return b"".join(
        _jpeg_segment(0xE2, b"ICC_PROFILE\0" + bytes([number, len(chunks)]) + chunk)
        for number, chunk in enumerate(chunks, start=1)
    )


def _png_chunk(kind: bytes, payload: bytes) -> bytes:
    checksum = zlib.crc32(kind + payload)
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", checksum)


def _png_profile(icc: bytes | None) -> bytes:
    return _png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)) if icc else b""
