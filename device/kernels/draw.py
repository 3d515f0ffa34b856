"""Pictures of a kernel field: paths over the photograph, PSFs as a contact sheet."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from device.kernels.field import KernelField
from device.kernels.psf import rasterise
from device.output import write_atomic

# Paths are drawn at least this far apart, in pixels of the drawn picture.
_NODE_SPACING_PX = 60
_LONGEST_DRAWN_PX = 52
_SUBPIXEL_BITS = 4
# Light at the start of the exposure is drawn blue, at its end yellow.
_START_RGB, _END_RGB = np.array([60, 150, 255.0]), np.array([255, 225, 60.0])
_OUTLINE_RGB, _INVALID_RGB = (15, 15, 20), (230, 70, 70)
_GRID_GREY = 70


def draw_field(
    photo_rgb: NDArray[np.uint8], field: KernelField, *, magnification: float | None = None
) -> NDArray[np.uint8]:
    """Draw each node's path over a photograph, from blue (exposure starts) to yellow (it ends).

    photo_rgb : (h, w, 3) uint8, the photograph or a smaller copy of it.
    magnification : how much longer than the blur a path is drawn; chosen by
        `overlay_magnification` when None. The picture's corner states it.
    Returns a new (h, w, 3) uint8. Nodes without a valid path are small red crosses.
    """
    height, width = photo_rgb.shape[:2]
    scale = width / field.width
    factor = magnification or overlay_magnification(field, scale)
    canvas: NDArray[np.uint8] = np.ascontiguousarray(photo_rgb * np.float32(0.72), np.uint8)
    thickness = max(1, round(width / 700))
    # Long paths are drawn further apart, or they would run into one another.
    spacing_px = max(_NODE_SPACING_PX, 1.2 * factor * scale * _long_path_px(field))
    columns = _spread(field.node_u, scale, width, spacing_px)
    for row in _spread(field.node_v, scale, height, spacing_px):
        for column in columns:
            centre = scale * np.array([field.node_u[column], field.node_v[row]], np.float64)
            if field.valid[row, column]:
                path = centre + factor * scale * field.paths_px[row, column]
                _draw_path(canvas, path, thickness)
            else:
                x, y = (round(float(value)) for value in centre)
                cv2.drawMarker(canvas, (x, y), _INVALID_RGB, cv2.MARKER_TILTED_CROSS, 8, thickness)
    _draw_caption(canvas, f"paths drawn {factor:g}x, blue: start, yellow: end")
    return canvas


def overlay_magnification(field: KernelField, scale: float = 1.0) -> float:
    """The round factor that makes the longest paths readable without overlapping.

    scale : pixels of the drawn picture per pixel of the frame.
    """
    longest_px = scale * _long_path_px(field)
    if longest_px <= 0.0:
        return 1.0
    wanted = _LONGEST_DRAWN_PX / longest_px
    if wanted <= 1.0:
        return 1.0
    decade = 10.0 ** math.floor(math.log10(min(wanted, 500.0)))
    return max(step * decade for step in (1, 2, 5) if step * decade <= wanted)


def psf_sheet(
    field: KernelField, columns: int = 8, rows: int = 6, *, cell_px: int = 96
) -> NDArray[np.uint8]:
    """Point-spread functions at a regular grid of places, as they lie in the picture.

    Returns (rows * cell + 1, columns * cell + 1) uint8 grey. Each PSF is centred on its
    mid-exposure position and scaled to its own peak; all share one size in frame pixels,
    `psf_support_px`, enlarged by whole numbers where they are small.
    """
    support_px = psf_support_px(field)
    zoom = max(1, cell_px // support_px)
    cell = support_px * zoom + 1
    sheet = np.full((rows * cell + 1, columns * cell + 1), _GRID_GREY, np.uint8)
    u = (np.arange(columns) + 0.5) * field.width / columns - 0.5
    v = (np.arange(rows) + 0.5) * field.height / rows - 0.5
    places = np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2)
    for index, path in enumerate(field.paths_at(places)):
        psf = rasterise(path, support_px)
        grey = np.round(255.0 * psf / max(float(psf.max()), 1e-12)).astype(np.uint8)
        top, left = (1 + cell * place for place in divmod(index, columns))
        sheet[top : top + cell - 1, left : left + cell - 1] = grey.repeat(zoom, 0).repeat(zoom, 1)
    return sheet


def psf_support_px(field: KernelField) -> int:
    """The odd side of a square, in frame pixels, that holds every path of the field."""
    paths = field.paths_px[field.valid]
    reach = float(np.abs(paths).max()) if paths.size else 0.0
    return 2 * (math.ceil(reach) + 2) + 1


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write (h, w, 3) RGB or (h, w) grey uint8 as PNG, whole or not at all. Raises OSError."""
    stored = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(".png", stored)
    if not done:
        raise OSError(f"{path}: the picture could not be encoded as PNG")
    write_atomic(path, encoded.tobytes())


def _long_path_px(field: KernelField) -> float:
    """A length that few paths exceed, in frame pixels; 0 when none is valid."""
    lengths = field.length_px[field.valid]
    return float(np.quantile(lengths, 0.95)) if lengths.size else 0.0


def _spread(
    nodes: NDArray[np.floating], scale: float, size_px: int, spacing_px: float
) -> list[int]:
    """Indices of the nodes to draw along one axis: inside the picture and not too dense."""
    chosen: list[int] = []
    last = -math.inf
    for index, place in enumerate(np.asarray(nodes, np.float64) * scale):
        if 0 <= place < size_px and place - last >= spacing_px:
            chosen.append(index)
            last = float(place)
    return chosen


def _draw_path(canvas: NDArray[np.uint8], path: NDArray[np.float64], thickness: int) -> None:
    points = np.round(path * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.polylines(canvas, [points], False, _OUTLINE_RGB, thickness + 2, cv2.LINE_AA, _SUBPIXEL_BITS)
    pieces = len(points) - 1
    for piece in range(pieces):
        mix = piece / max(pieces - 1, 1)
        red, green, blue = ((1 - mix) * _START_RGB + mix * _END_RGB).tolist()
        cv2.polylines(
            canvas,
            [points[piece : piece + 2]],
            False,
            (red, green, blue),
            thickness,
            cv2.LINE_AA,
            _SUBPIXEL_BITS,
        )


def _draw_caption(canvas: NDArray[np.uint8], text: str) -> None:
    """State the drawing's scale on a dark strip in the lower left corner."""
    size = max(0.4, canvas.shape[1] / 2200)
    weight = max(1, round(size * 1.6))
    (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, weight)
    left, bottom = height // 2, canvas.shape[0] - height // 2
    corner = (left + width + height, bottom - height - 2 * base)
    cv2.rectangle(canvas, (left, bottom), corner, _OUTLINE_RGB, cv2.FILLED)
    origin = (left + height // 2, bottom - base)
    cv2.putText(
        canvas, text, origin, cv2.FONT_HERSHEY_SIMPLEX, size, (240, 240, 240), weight, cv2.LINE_AA
    )
