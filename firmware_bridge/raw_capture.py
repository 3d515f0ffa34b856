"""Files of raw sensor bytes: binary, hex text, or JSON lines with arrival times.

Told apart by content. Every frame starts with 0x55, the letter U, which is no hex digit: so a
file of hex digits and separators alone can only be hex text. JSON lines hold one object a line,
{"hex": bytes of one radio packet, "t": arrival in seconds}, after an optional header object.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import LogFormatError

CaptureKind: TypeAlias = Literal["binary", "hex", "jsonl"]

_HEX_TEXT: Final = frozenset(b"0123456789abcdefABCDEFxX \t\r\n\f\v,;:")
_SEPARATORS: Final = b" \t\r\n\f\v,;:"
_MOST_SECONDS: Final = 4e9
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class RawCapture:
    """The bytes of a capture and, where the file tells, when they arrived.

    arrival_s : (P,) float64, when each radio packet arrived; None when the file does not say.
    arrival_ends : (P,) int64, number of bytes up to and with each packet.
    """

    kind: CaptureKind
    data: bytes
    arrival_s: NDArray[np.float64] | None = None
    arrival_ends: NDArray[np.int64] | None = None


def read_raw_capture(path: str | os.PathLike[str]) -> RawCapture:
    """Read a capture of any kind.

    Raises LogFormatError for an empty file and for text that is cut or damaged.
    """
    content = Path(path).read_bytes()
    if not content:
        raise LogFormatError(path, "size", "0 bytes", "a capture of WT901 bytes")
    text = content.removeprefix(_BYTE_ORDER_MARK)
    if text.lstrip()[:1] == b"{":
        return _read_json_lines(path, text)
    if _HEX_TEXT.issuperset(text):
        return RawCapture("hex", _read_hex(path, "hex digits", text))
    return RawCapture("binary", content)


def _read_hex(path: object, place: str, text: bytes) -> bytes:
    digits = text.replace(b"0x", b"").replace(b"0X", b"").translate(None, _SEPARATORS)
    if len(digits) % 2:
        expected = "two digits a byte (was the file cut?)"
        raise LogFormatError(path, place, f"{len(digits)} hex digits", expected)
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        raise LogFormatError(path, place, "other characters", "hex digits") from None


def _read_json_lines(path: object, text: bytes) -> RawCapture:
    pieces: list[bytes] = []
    arrivals: list[float] = []
    numbers: list[int] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        packet = _json_packet(path, number, line)
        if packet is None:
            continue
        piece, arrival_s = packet
        pieces.append(piece)
        arrivals.append(arrival_s)
        numbers.append(number)
    if not pieces:
        raise LogFormatError(path, "lines", "no packets", 'lines {"hex": ..., "t": ...}')
    for (number, now), (_, before) in pairwise(zip(numbers[::-1], arrivals[::-1], strict=True)):
        if now < before:
            expected = "arrival times that do not go back"
            raise LogFormatError(path, f"line {number}, t", f"{now} s after {before} s", expected)
    ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
    return RawCapture("jsonl", b"".join(pieces), np.array(arrivals), ends)


def _json_packet(path: object, number: int, line: bytes) -> tuple[bytes, float] | None:
    """Bytes and arrival of one line; None for the header, which only the first line may be."""
    place = f"line {number}"
    try:
        value = json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError):
        expected = "one JSON object (was the file cut?)"
        raise LogFormatError(path, place, repr(line[:40]), expected) from None
    if isinstance(value, dict) and "hex" not in value and number == 1:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("hex"), str):
        raise LogFormatError(path, place, "no string named hex", 'an object {"hex": ..., "t": ...}')
    arrival_s = value.get("t")
    if isinstance(arrival_s, bool) or not isinstance(arrival_s, int | float):
        raise LogFormatError(path, f"{place}, t", repr(arrival_s), "seconds")
    if not abs(arrival_s) < _MOST_SECONDS:
        raise LogFormatError(path, f"{place}, t", repr(arrival_s), f"seconds below {_MOST_SECONDS}")
    text = value["hex"].encode("ascii", "replace")
    return _read_hex(path, f"{place}, hex", text), float(arrival_s)
