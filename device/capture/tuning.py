"""The camera tuning with its contrast stage made fixed, and the tone curve that then applies.

libcamera's `rpi.contrast` stretches the histogram of every frame anew and does not say by how
much. With `ce_enable` 0 it applies its `gamma_curve` alone: fixed, and thus invertible.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from device.capture.camera import GammaCurve
from device.errors import CameraError, InputError

_FULL_SCALE = 65535.0
_STAGE = "rpi.contrast"

Tuning = Mapping[str, Any]


def fixed_tone(tuning: Tuning, name: str) -> tuple[dict[str, Any], GammaCurve]:
    """The tuning with contrast enhancement off, and its curve from linear light to coded value.

    tuning : a parsed tuning file, version 1 (algorithms by name) or 2 (a list of them); it is
        not changed.
    name : of the file, for the error.

    Raises CameraError when the stage or a usable curve is missing.
    """
    changed = copy.deepcopy(dict(tuning))
    stage = _contrast_stage(changed)
    if stage is None:
        raise CameraError(f"{name}: no {_STAGE} in the tuning, so the tone curve is unknown")
    stage["ce_enable"] = 0
    return changed, _gamma_curve(stage.get("gamma_curve"), name)


def _contrast_stage(tuning: dict[str, Any]) -> dict[str, Any] | None:
    if tuning.get("version", 1) == 1:
        stages: Sequence[Any] = [tuning]
    else:
        listed = tuning.get("algorithms")
        stages = listed if isinstance(listed, list) else []
    for algorithm in stages:
        if isinstance(algorithm, dict) and isinstance(algorithm.get(_STAGE), dict):
            stage: dict[str, Any] = algorithm[_STAGE]
            return stage
    return None


def _gamma_curve(flat: object, name: str) -> GammaCurve:
    """x0, y0, x1, y1, ... in 16 bits, as the tuning writes it."""
    problem = f"{name}: {_STAGE}: gamma_curve"
    if not isinstance(flat, list) or len(flat) < 4 or len(flat) % 2:
        raise CameraError(f"{problem}: found {str(flat)[:40]}, expected pairs x, y")
    try:
        numbers = [float(value) / _FULL_SCALE for value in flat]
    except (TypeError, ValueError):
        raise CameraError(f"{problem}: expected numbers") from None
    points = list(zip(numbers[::2], numbers[1::2], strict=True))
    if 0 < points[-1][0] < 1:  # the stage holds the last value beyond its last point
        points.append((1.0, points[-1][1]))
    try:
        return GammaCurve(tuple(points))
    except InputError as error:
        raise CameraError(f"{problem}: found {error.found}, expected {error.expected}") from None
