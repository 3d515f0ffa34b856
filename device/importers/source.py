"""What all importers need: lines and numbers with their place, whole pictures, sorted logs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device import frame_file
from device.errors import InputError
from device.validation import read_text, shown
from firmware_bridge.samples import ImuSamples

# An Android phone: x right, y up, z out of the screen, in its natural (portrait) orientation
# (developer.android.com, SensorEvent). Its rear camera looks along -z and is mounted turned by 90
# degrees, as SENSOR_ORIENTATION 90 says: a picture's right is the phone's -y, its down the -x.
ANDROID_REAR_R_CI = np.array([[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])


ANDROID_GYRO_BIAS_RAD_S = (0.0, 0.0, 0.0)
"""Android's gyroscope (TYPE_GYROSCOPE) comes with its bias already taken off."""


def android_rear_T_cam_imu() -> NDArray[np.float64]:  # noqa: N802 - the matrix is called so
    """T_cam_imu (4, 4) of an Android phone's rear camera; the lever arm is not known: 0."""
    matrix = np.eye(4)
    matrix[:3, :3] = ANDROID_REAR_R_CI
    return matrix


def numbered_lines(path: Path, expected: str) -> Iterator[tuple[int, str]]:
    """The lines of a text file that hold anything, counted from 1."""
    for number, line in enumerate(read_text(path, expected).splitlines(), start=1):
        if line.strip():
            yield number, line


def whole_number(path: Path, place: str, text: str, expected: str) -> int:
    """A whole number of 64 bits, or InputError."""
    try:
        value = int(text)
    except ValueError:
        raise InputError(path, place, shown(text), expected) from None
    if abs(value) >= 2**63:
        raise InputError(path, place, value, f"{expected} of 64 bits")
    return value


def finite_numbers(path: Path, place: str, texts: Sequence[str], expected: str) -> list[float]:
    """Finite numbers, or InputError."""
    try:
        values = [float(text) for text in texts]
    except ValueError:
        raise InputError(path, place, shown(" ".join(texts)), expected) from None
    if not all(map(math.isfinite, values)):
        raise InputError(path, place, shown(" ".join(texts)), expected)
    return values


def read_picture(path: Path) -> NDArray[np.uint8]:
    """The pixels of a JPEG (H, W, 3), so that a broken one is refused before it is imported."""
    if path.suffix.lower() not in (".jpg", ".jpeg"):
        raise InputError(path, "file", path.suffix, "a .jpg picture")
    width, height = frame_file.picture_size(path)
    return np.asarray(frame_file.decode(path, width, height), dtype=np.uint8)


def sorted_samples(
    path: Path,
    t_ns: Sequence[int],
    gyro_rad_s: Sequence[Sequence[float]],
    acc_g: NDArray[np.float64] | None = None,
) -> ImuSamples:
    """Samples in time order, those written twice kept once.

    Raises InputError when there are none, or when two differ at the same time.
    """
    if not t_ns:
        raise InputError(path, "samples", "none", "gyroscope samples")
    times = np.asarray(t_ns, dtype=np.int64)
    rates = np.asarray(gyro_rad_s, dtype=np.float64).reshape(-1, 3)
    unique, first, which = np.unique(times, return_index=True, return_inverse=True)
    differing = np.flatnonzero((rates != rates[first][which]).any(axis=1))
    if len(differing):
        place = f"sample at {times[differing[0]]} ns"
        raise InputError(path, place, "two different rates", "one rate at one time")
    acc = np.full((len(unique), 3), np.nan) if acc_g is None else acc_g[first]
    return ImuSamples(unique, rates[first], acc)
