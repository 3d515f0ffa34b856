"""The picture file of a bundle: its size, whether it is whole, its pixels, and writing one.

Decoders forgive too much: libjpeg fills the lost part of a truncated photograph with grey. So
wholeness is checked on the file itself, before any pixel is believed.
Pixels are the camera's: EXIF orientation is never applied here.
"""

from __future__ import annotations

import io
import mmap
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from device.errors import InputError

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".dng": "DNG"}
# In entropy-coded data 0xFF is followed by 0x00 or a restart marker; anything else ends it.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_STRIP_ROWS = 256


def require_whole(path: Path, width: int, height: int) -> None:
    """Check a picture file without decoding it: there, of its kind, complete, of this size.

    Raises InputError. A DNG's size is only known to its decoder; it is checked in `decode`.
    """
    kind = FORMATS[path.suffix.lower()]
    try:
        with path.open("rb") as file:
            start = file.read(8)
            if len(start) < 8:
                raise InputError(path, "file", f"{len(start)} bytes", f"a {kind} picture")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                _require_complete(path, kind, data)
    except FileNotFoundError:
        raise InputError(path, "file", "nothing", "the photograph") from None
    except OSError as error:
        raise InputError(path, "file", error.strerror or error, "the photograph") from None
    if kind != "DNG":
        _require_size(path, picture_size(path), width, height)


def _require_complete(path: Path, kind: str, data: mmap.mmap) -> None:
    if kind == "JPEG":
        good, whole = data[:2] == b"\xff\xd8", _jpeg_is_complete
    elif kind == "PNG":
        good, whole = data[:8] == PNG_SIGNATURE, _png_is_complete
    else:
        good, whole = data[:4] in (b"II*\x00", b"MM\x00*"), _always
    if not good:
        raise InputError(path, "file", f"a file starting {data[:4].hex(' ')}", f"a {kind} picture")
    if not whole(data):
        raise InputError(path, "file", f"a truncated {kind} of {len(data)} bytes", "a whole one")


def _always(data: mmap.mmap) -> bool:
    return True


def _jpeg_is_complete(data: mmap.mmap) -> bool:
    """Walk the segments (ITU-T T.81, B.1) to the end-of-image marker."""
    at = 2
    while at + 4 <= len(data) or data[at : at + 2] == b"\xff\xd9":
        if data[at] != 0xFF:
            return False
        marker = data[at + 1]
        if marker == 0xD9:
            return True
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            at += 2
            continue
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:
            found = _JPEG_MARKER.search(data, at)
            if found is None:
                return False
            at = found.start()
    return False


def _png_is_complete(data: mmap.mmap) -> bool:
    """Walk the chunks (PNG 5.3) to IEND; every chunk's checksum must be right."""
    at = len(PNG_SIGNATURE)
    while at + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        end = at + 8 + length
        if end + 4 > len(data):
            return False
        checksum = zlib.crc32(data[at + 4 : end])
        if checksum != int.from_bytes(data[end : end + 4], "big"):
            return False
        if kind == b"IEND":
            return True
        at = end + 4
    return False


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height of a JPEG or PNG from its header; raises InputError."""
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as picture:
            return picture.size
    except FileNotFoundError:
        raise InputError(path, "file", "nothing", "the photograph") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(path, "size", str(error), "a photograph") from None
    except (OSError, SyntaxError, ValueError, struct.error) as error:
        raise InputError(path, "header", str(error), "a JPEG or PNG picture") from None


def _require_size(path: Path, found: tuple[int, int], width: int, height: int) -> None:
    if found != (width, height):
        raise InputError(
            path, "size", f"{found[0]}x{found[1]}", f"{width}x{height} as capture.json says"
        )


def decode(path: Path, width: int, height: int) -> Pixels:
    """The pixels (height, width, 3), R G B, uint8 or uint16, held once; not rotated.

    A grey picture comes with three equal channels. Raises InputError.
    """
    require_whole(path, width, height)
    kind = FORMATS[path.suffix.lower()]
    pixels: Pixels | None = _decode_dng(path) if kind == "DNG" else _decode_picture(path)
    if pixels is None:
        raise InputError(path, "picture", f"a {kind} that cannot be decoded", "a photograph")
    _require_size(path, (pixels.shape[1], pixels.shape[0]), width, height)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(path, "picture", str(pixels.dtype), "8 or 16 bits a channel")
    return pixels


def _decode_picture(path: Path) -> Any:
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    rgb = getattr(cv2, "IMREAD_COLOR_RGB", None)  # OpenCV 4.11 and newer
    try:
        if rgb is not None:
            return cv2.imread(str(path), flags | rgb)
        pixels = cv2.imread(str(path), flags | cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    if pixels is not None:
        for top in range(0, len(pixels), _STRIP_ROWS):
            strip = pixels[top : top + _STRIP_ROWS]
            strip[..., ::2] = strip[..., ::-2].copy()
    return pixels


def _decode_dng(path: Path) -> Any:
    """Demosaiced, white-balanced, linear: 16 bits a channel."""
    try:
        import rawpy
    except ImportError:
        raise InputError(path, "format", "a DNG", "rawpy: pip install 'stillpi[raw]'") from None
    try:
        with rawpy.imread(str(path)) as raw:
            return raw.postprocess(
                gamma=(1, 1), no_auto_bright=True, output_bps=16, use_camera_wb=True, user_flip=0
            )
    except rawpy.LibRawError as error:
        reason = error.args[0] if error.args else "an error"
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise InputError(path, "picture", text, "a DNG photograph") from None


def encode_jpeg(pixels: Pixels, quality: int, exif: bytes | None = None) -> bytes:
    """A 4:4:4 JPEG of (H, W, 3) R G B or (H, W) grey uint8.

    exif : with or without the leading "Exif" marker, as Pillow or piexif give it.
    Raises ValueError for other pixels or an EXIF block JPEG cannot hold (65,533 bytes).
    """
    if pixels.dtype != np.uint8:
        raise ValueError(f"a JPEG holds uint8, not {pixels.dtype}: write a PNG")
    file = io.BytesIO()
    options: dict[str, Any] = {"quality": quality, "subsampling": 0}
    if exif:
        options["exif"] = exif if exif.startswith(b"Exif\0\0") else b"Exif\0\0" + exif
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "JPEG", **options)
    return file.getvalue()


def encode_png(pixels: Pixels, exif: bytes | None = None) -> bytes:
    """A lossless PNG of (H, W, 3) R G B or (H, W) grey, uint8 or uint16."""
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"a PNG holds uint8 or uint16, not {pixels.dtype}")
    picture = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    # Level 1 costs a few percent of size and saves seconds of a Pi's time at 12 MP.
    _, encoded = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    data = encoded.tobytes()
    if not exif:
        return data
    block = b"eXIf" + exif.removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(block) - 4) + block + struct.pack(">I", zlib.crc32(block))
    after_header = len(PNG_SIGNATURE) + 25
    return data[:after_header] + chunk + data[after_header:]
