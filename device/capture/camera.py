"""What every camera of ours is: a source of immutable frames with their timing.

One Protocol, three cameras behind it: the sensor on a Pi, the simulated twin, and the replay of
bundles. Nothing outside asks which of them it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from device.calibration import CameraCalibration
from device.capture.timing import FrameTiming
from device.errors import InputError


@dataclass(frozen=True, slots=True)
class GammaCurve:
    """A measured tone curve, piecewise linear: (linear light, coded value), both 0..1.

    points : at least two (x, y); x rises strictly from 0 to 1, y never falls and ends above its
        start, so the curve can be inverted.

    Raises InputError (a ValueError) for a curve that cannot be.
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        expected = "points (x, y) in 0..1, x rising strictly from 0 to 1, y never falling"
        curve = np.asarray(self.points, dtype=np.float64)
        if curve.ndim != 2 or curve.shape[1] != 2 or len(curve) < 2:
            raise InputError("tone", "gamma_curve", f"{len(self.points)} points", expected)
        x, y = curve.T
        in_range = bool(((curve >= 0) & (curve <= 1)).all())  # False for NaN as well
        spans = x[0] == 0 and x[-1] == 1 and y[-1] > y[0]
        if not (in_range and spans and (np.diff(x) > 0).all() and (np.diff(y) >= 0).all()):
            raise InputError("tone", "gamma_curve", _shorten(self.points), expected)


def _shorten(points: tuple[tuple[float, float], ...]) -> str:
    text = str([list(point) for point in points])
    return text if len(text) <= 80 else text[:77] + "..."


Tone = Literal["linear", "srgb"] | GammaCurve


@dataclass(frozen=True, slots=True)
class NoiseModel:
    """Noise of a linear value x in 0..1: variance = shot * x + read**2."""

    shot: float
    read: float


@dataclass(frozen=True)
class Frame:
    """One photograph as the camera gave it, with what is known about it.

    pixels : (H, W, 3) uint8 or uint16, R G B, or (H, W) grey; not rotated, coded with `tone`.
    timing : when each row was exposed; timing.height is H.
    tone : from linear light to the coded values.
    orientation : EXIF orientation 1..8, how a viewer must turn the picture.
    noise : None when not known; it is estimated from the picture then.
    metadata : the camera's own, verbatim.
    depth_m : distance of the scene; None when not known (translation is then not used).
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    timing: FrameTiming
    tone: Tone = "srgb"
    orientation: int = 1
    sensor_model: str = "unknown"
    analogue_gain: float | None = None
    noise: NoiseModel | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)
    depth_m: float | None = None

    @property
    def width(self) -> int:
        """Columns of the picture."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Rows of the picture."""
        return int(self.pixels.shape[0])


class Camera(Protocol):
    """A camera that is open and locked to one configuration."""

    @property
    def calibration(self) -> CameraCalibration:
        """Intrinsics and extrinsics at the size of the frames it gives."""
        ...

    def capture(self) -> Frame:
        """Take one photograph now; raises CameraError when none arrives."""
        ...

    def close(self) -> None:
        """Release the camera; closing twice is fine."""
        ...
