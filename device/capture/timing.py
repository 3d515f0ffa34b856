"""When each row of a frame was exposed.

Row r, counted in READ-OUT order, collects light over

    [first_row_end_ns + r * line_time_ns - exposure_ns, first_row_end_ns + r * line_time_ns]

(design: the capture format). Pictures address rows from the top; a flipped sensor reads the
bottom of the picture first, so the two counts run against each other there.
All times are nanoseconds of CLOCK_MONOTONIC, the camera's time: add the calibration's
`timeshift_s` before looking anything up in the sensor log.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from device.errors import InputError

RowOrder = Literal["top_down", "bottom_up"]


@dataclass(frozen=True, slots=True)
class FrameTiming:
    """The exposure of one frame, row by row.

    first_row_end_ns : when the row read first stopped collecting light.
    exposure_ns : how long every row collected light, > 0.
    line_time_ns : from one row's read-out to the next, >= 0; 0 for a global shutter.
    row_order : whether the top or the bottom row of the picture is read first.
    height : rows of the picture.

    >>> timing = FrameTiming(1_000, 400, 10, "bottom_up", 5)
    >>> timing.row_mid_ns(np.array([4, 0])).tolist()
    [800, 840]

    Raises InputError (a ValueError) for values no camera has.
    """

    first_row_end_ns: int
    exposure_ns: int
    line_time_ns: float
    row_order: RowOrder
    height: int

    def __post_init__(self) -> None:
        if self.exposure_ns <= 0:
            raise InputError("timing", "exposure_ns", self.exposure_ns, "more than 0")
        if not (math.isfinite(self.line_time_ns) and self.line_time_ns >= 0):
            raise InputError("timing", "line_time_ns", self.line_time_ns, "0 or more")
        if self.row_order not in ("top_down", "bottom_up"):
            raise InputError("timing", "row_order", self.row_order, "top_down or bottom_up")
        if self.height <= 0:
            raise InputError("timing", "height", self.height, "at least one row")

    def readout_index(self, v: ArrayLike) -> NDArray[np.float64]:
        """How many line times after the first row the picture row v is read.

        v : any shape, rows of the picture; fractions and rows outside the frame continue the line.
        """
        rows = np.asarray(v, dtype=np.float64)
        return rows if self.row_order == "top_down" else (self.height - 1) - rows

    def row_end_ns(self, v: ArrayLike) -> NDArray[np.int64]:
        """The end of the exposure of picture row v, same shape as v."""
        # The offset is rounded before it meets the clock: a float64 cannot hold
        # nanoseconds of an uptime beyond 104 days.
        offset_ns = np.rint(self.readout_index(v) * self.line_time_ns).astype(np.int64)
        return np.asarray(self.first_row_end_ns + offset_ns, dtype=np.int64)

    def row_mid_ns(self, v: ArrayLike) -> NDArray[np.int64]:
        """The middle of the exposure of picture row v, same shape as v."""
        return self.row_end_ns(v) - self.exposure_ns // 2

    @property
    def start_ns(self) -> int:
        """The first instant at which any row collected light."""
        return self.first_row_end_ns - self.exposure_ns

    @property
    def end_ns(self) -> int:
        """The last instant at which any row collected light."""
        return self.first_row_end_ns + round((self.height - 1) * self.line_time_ns)

    @property
    def mid_ns(self) -> int:
        """The middle of the exposure of the frame's middle row."""
        return (self.start_ns + self.end_ns) // 2
