"""Self-contained HTML pages: pictures inside, before/after sliders, numbers of a restoration."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray

_TEMPLATES = Path(__file__).resolve().parent / "templates"
# How each EXIF orientation is undone: quarter turns counter-clockwise after a mirror.
_QUARTER_TURNS = {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}
_MIRRORED = (2, 4, 5, 7)


@dataclass(frozen=True)
class Slider:
    """Two pictures of one size, one over the other, with a movable border between them."""

    before: str
    after: str
    width: int
    height: int
    caption: str = ""
    before_label: str = "photograph"
    after_label: str = "restored"


def render_page(template: str, **context: object) -> str:
    """Fill a template of this package; everything in it is escaped. Missing names are a bug."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**context)


def data_uri(picture: NDArray[np.uint8], *, quality: int = 88) -> str:
    """A picture (h, w, 3) RGB or (h, w) grey as a `data:` address; quality 0 means PNG."""
    suffix, options = ".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality]
    if quality == 0:
        suffix, options = ".png", []
    stored = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(suffix, stored, options)
    if not done:
        raise OSError(f"a picture of shape {picture.shape} could not be encoded as {suffix}")
    kind = "jpeg" if suffix == ".jpg" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(encoded.tobytes()).decode()}"


def compare(
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    caption: str = "",
    *,
    labels: tuple[str, str] = ("photograph", "restored"),
    quality: int = 88,
) -> Slider:
    """A slider between two pictures of the same size."""
    height, width = after.shape[:2]
    uris = (data_uri(before, quality=quality), data_uri(after, quality=quality))
    return Slider(*uris, width, height, caption, *labels)


def shrink(picture: NDArray[np.uint8], longest_px: int) -> NDArray[np.uint8]:
    """The picture with its longer side at most `longest_px`, averaged; unchanged if smaller."""
    height, width = picture.shape[:2]
    scale = longest_px / max(height, width)
    if scale >= 1.0:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def upright(picture: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The picture as a viewer that honours the EXIF orientation 1..8 shows it."""
    turned = picture[:, ::-1] if orientation in _MIRRORED else picture
    turns = _QUARTER_TURNS.get(orientation, 0)
    return np.ascontiguousarray(np.rot90(turned, turns))


def detail_spots(
    picture: NDArray[np.uint8], size: tuple[int, int], count: int
) -> list[tuple[slice, slice]]:
    """The most textured windows (rows, columns) of (height, width) `size`, not overlapping.

    Texture is the mean absolute Laplacian of a half-size copy, so that noise counts little.
    """
    grey = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    height, width = (min(side, limit) for side, limit in zip(size, grey.shape, strict=True))
    half = cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    edges = np.abs(cv2.Laplacian(half, cv2.CV_32F))
    window = (max(1, width // 2), max(1, height // 2))
    # The window's mean, stored at its top left corner.
    score = cv2.boxFilter(edges, cv2.CV_32F, window, anchor=(0, 0), borderType=cv2.BORDER_REPLICATE)
    score = score[: edges.shape[0] - window[1] + 1, : edges.shape[1] - window[0] + 1].copy()
    spots = []
    for _ in range(count):
        _, best, _, (x, y) = cv2.minMaxLoc(score)
        if best < 0.0:
            break
        top, left = min(2 * y, grey.shape[0] - height), min(2 * x, grey.shape[1] - width)
        spots.append((slice(top, top + height), slice(left, left + width)))
        score[max(0, y - window[1]) : y + window[1], max(0, x - window[0]) : x + window[0]] = -1.0
    return spots


def number_rows(report: Mapping[str, object], parts: Sequence[str]) -> list[tuple[str, str]]:
    """Label and text of every plain number, text and truth value in these parts of a report."""
    rows = []
    for part in parts:
        values = report.get(part)
        if not isinstance(values, Mapping):
            continue
        for name, value in values.items():
            if value is None or isinstance(value, (Mapping, list, tuple)):
                continue
            rows.append((readable(f"{part}: {name}"), format_number(name, value)))
    return rows


def readable(name: str) -> str:
    """A key of a report as words: underscores out, the unit left to the value."""
    for suffix in _UNITS:
        name = name.removesuffix(suffix)
    return name.replace("_px", "").replace("_", " ")


_UNITS = {
    "_deg_s": " °/s",
    "_rad_s": " rad/s",
    "_hz": " Hz",
    "_ppm": " ppm",
    "_ms": " ms",
    "_px": " px",
    "_db": " dB",
    "_s": " s",
    "_m": " m",
}


def format_number(name: str, value: object) -> str:
    """A value with the unit its name carries: four digits are enough on a page."""
    unit = next((text for suffix, text in _UNITS.items() if name.endswith(suffix)), "")
    if "_px_" in name:
        unit = " px"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if name.endswith("_share"):
            return f"{100 * value:.1f} %"
        return f"{value:.4g}{unit}"
    return f"{value}{unit if isinstance(value, int) else ''}"
