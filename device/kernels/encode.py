"""The kernel field as networks read it.

PATHS_ENCODING numbers the multi-piece view; a model bundle names the number it was trained with,
and any change of the view below must raise it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from device.kernels.field import MIDDLE, POSES, KernelField

Image = NDArray[np.float32]

PATHS_ENCODING = 1
PATHS_STRIDE_PX = 8
PATHS_CHANNELS = 2 * (POSES - 1)
_PATHS_UNIT_PX = 32.0


def paths_view(field: KernelField, left: int, top: int, width: int, height: int) -> Image:
    """The paths of a part of the picture: (16, height / 8, width / 8).

    Channels 0..7 are du, 8..15 dv at the 8 instants other than mid-exposure, at the middle of each
    8x8 cell, in units of 32 px.
    """
    columns = left + PATHS_STRIDE_PX * np.arange(width // PATHS_STRIDE_PX) + 3.5
    rows = top + PATHS_STRIDE_PX * np.arange(height // PATHS_STRIDE_PX) + 3.5
    nodes = np.stack(np.meshgrid(columns, rows), axis=-1)
    paths = field.paths_at(nodes.reshape(-1, 2)) / np.float32(_PATHS_UNIT_PX)
    pieces = np.delete(paths, MIDDLE, axis=1).reshape(len(rows), len(columns), POSES - 1, 2)
    view: Image = pieces.transpose(3, 2, 0, 1).reshape(PATHS_CHANNELS, len(rows), len(columns))
    return view


def vector_view(field: KernelField, left: int, top: int, width: int, height: int) -> Image:
    """The view of the seed system: (3, height, width), one straight vector a pixel, in pixels.

    Channels are norm, x, y of the chord from the beginning of the exposure to its end. A vector and
    its opposite smear alike, so it is turned into the right half plane, x >= 0.
    """
    nodes = np.stack(
        np.meshgrid(left + np.arange(width, dtype=float), top + np.arange(height, dtype=float)), -1
    )
    paths = field.paths_at(nodes.reshape(-1, 2))
    chord = (paths[:, -1] - paths[:, 0]).reshape(height, width, 2)
    chord = np.where(chord[..., :1] < 0, -chord, chord)
    norm = np.hypot(chord[..., 0], chord[..., 1])
    return np.stack([norm, chord[..., 0], chord[..., 1]]).astype(np.float32)
