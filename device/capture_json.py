"""capture.json: its keys, their types and bounds, and the way there and back.

What a key may hold is written down once, in the models below; unknown keys are kept wherever
they stand, so a newer writer's file survives an older reader.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from device.capture.camera import GammaCurve, NoiseModel, Tone
from device.capture.timing import FrameTiming, RowOrder
from device.errors import InputError
from device.notices import Notice
from device.validation import field_name, first_problem, read_text, shown

FORMAT = "stillpi-capture"
VERSION = 1
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".dng")
INT64_MAX = 2**63 - 1
# A row exposed for an hour, or read for a second, is a mistake of units.
LONGEST_EXPOSURE_NS = 3_600_000_000_000
LONGEST_LINE_NS = 1e9

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Pixels = Annotated[int, Field(gt=0, le=1 << 16)]


def _file_name(value: object) -> str:
    expected = f"the name of a {', '.join(PICTURE_SUFFIXES)} file in the bundle"
    if isinstance(value, str) and value.isprintable() and "/" not in value and "\\" not in value:
        stem, dot, suffix = value.rpartition(".")
        if stem.strip(".") and dot and f".{suffix.lower()}" in PICTURE_SUFFIXES:
            return value
    raise PydanticCustomError("file_name", "{expected}", {"expected": expected})


def _tone(value: object) -> Tone:
    if value == "linear":
        return "linear"
    if value == "srgb":
        return "srgb"
    expected = "linear, srgb or {gamma_curve: [[x, y], ...]}"
    if isinstance(value, dict) and set(value) == {"gamma_curve"}:
        points = value["gamma_curve"]
        if isinstance(points, list) and all(map(_is_point, points)):
            try:
                return GammaCurve(tuple((float(x), float(y)) for x, y in points))
            except InputError as error:
                expected = error.expected
    raise PydanticCustomError("tone", "{expected}", {"expected": expected})


def _is_point(point: object) -> bool:
    return (
        isinstance(point, list)
        and len(point) == 2
        and all(type(x) in (int, float) and 0 <= x <= 1 for x in point)
    )


def _tone_keys(tone: Tone) -> object:
    if isinstance(tone, GammaCurve):
        return {"gamma_curve": [list(point) for point in tone.points]}
    return tone


def _version(value: object) -> int:
    if type(value) is int and value == VERSION:
        return value
    raise PydanticCustomError("version", "{expected}", {"expected": str(VERSION)})


class _Keys(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class FrameKeys(_Keys):
    """What the picture file is."""

    file: Annotated[str, PlainValidator(_file_name)]
    width: Pixels
    height: Pixels
    tone: Annotated[Tone, PlainValidator(_tone), PlainSerializer(_tone_keys)]
    orientation: Annotated[int, Field(ge=1, le=8)]


class TimingKeys(_Keys):
    """When it was exposed."""

    first_row_end_ns: Annotated[int, Field(ge=-INT64_MAX // 2, le=INT64_MAX // 2)]
    exposure_ns: Annotated[int, Field(gt=0, le=LONGEST_EXPOSURE_NS)]
    line_time_ns: Annotated[float, Field(ge=0, le=LONGEST_LINE_NS)]
    row_order: RowOrder


class NoiseKeys(_Keys):
    """variance = shot * x + read**2."""

    shot: NotNegative
    read: NotNegative


class SensorKeys(_Keys):
    """Which sensor, and how much it amplified."""

    model: str
    analogue_gain: Positive | None
    noise: NoiseKeys | None = None


class SceneKeys(_Keys):
    """What is known of the scene."""

    depth_m: Positive | None


class WarningKeys(_Keys):
    """What the camera noticed."""

    name: str
    detail: str


class CaptureKeys(_Keys):
    """The whole document."""

    format: Literal["stillpi-capture"]
    version: Annotated[int, PlainValidator(_version)]
    frame: FrameKeys
    timing: TimingKeys
    sensor: SensorKeys
    scene: SceneKeys
    metadata: dict[str, Any]
    warnings: list[WarningKeys] = []


@dataclass(frozen=True)
class Capture:
    """What capture.json says, in our types.

    warnings : what the camera or importer noticed.
    extra : the unknown keys, nested as they stood: {"sensor": {"lens": ...}}.
    """

    file: str
    width: int
    height: int
    tone: Tone
    orientation: int
    timing: FrameTiming
    sensor_model: str
    analogue_gain: float | None
    noise: NoiseModel | None
    depth_m: float | None
    metadata: dict[str, Any]
    warnings: tuple[Notice, ...]
    extra: dict[str, Any]


def read_capture(path: Path) -> Capture:
    """Read and check a capture.json; raises InputError for the first thing that is wrong."""
    text = read_text(path, "the description of a capture")
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise InputError(path, place, error.msg, "JSON") from None
    except (RecursionError, ValueError) as error:
        raise InputError(path, "the document", shown(str(error)), "JSON") from None
    if not isinstance(document, dict):
        raise InputError(path, "the document", type(document).__name__, "a JSON object")
    try:
        keys = CaptureKeys.model_validate(document)
    except ValidationError as error:
        raise first_problem(path, error) from None
    not_finite = _not_finite(document)
    if not_finite:
        raise InputError(path, not_finite, "NaN or an infinity", "a finite number")
    return _from_keys(keys)


def _from_keys(keys: CaptureKeys) -> Capture:
    frame, timing, noise = keys.frame, keys.timing, keys.sensor.noise
    return Capture(
        file=frame.file,
        width=frame.width,
        height=frame.height,
        tone=frame.tone,
        orientation=frame.orientation,
        timing=FrameTiming(
            timing.first_row_end_ns,
            timing.exposure_ns,
            timing.line_time_ns,
            timing.row_order,
            frame.height,
        ),
        sensor_model=keys.sensor.model,
        analogue_gain=keys.sensor.analogue_gain,
        noise=None if noise is None else NoiseModel(noise.shot, noise.read),
        depth_m=keys.scene.depth_m,
        metadata=keys.metadata,
        warnings=tuple(Notice(warning.name, warning.detail) for warning in keys.warnings),
        extra=_unknown(keys),
    )


def _unknown(keys: BaseModel) -> dict[str, Any]:
    extra = dict(keys.model_extra or {})
    for name in type(keys).model_fields:
        value = getattr(keys, name)
        if isinstance(value, BaseModel):
            inner = _unknown(value)
            if inner:
                extra[name] = inner
    return extra


def _not_finite(document: object) -> str | None:
    """The place of a NaN or an infinity anywhere in a document, None when there is none."""
    stack: list[tuple[tuple[str | int, ...], object]] = [((), document)]
    while stack:
        place, value = stack.pop()
        if isinstance(value, float) and not math.isfinite(value):
            return field_name(*place)
        if isinstance(value, dict):
            stack += [((*place, key), inner) for key, inner in value.items()]
        elif isinstance(value, list):
            stack += [((*place, index), inner) for index, inner in enumerate(value)]
    return None


def capture_text(capture: Capture) -> str:
    """The JSON text of a capture; read_capture gives the same capture back.

    Raises InputError when a value is one that read_capture would refuse.
    """
    line_time_ns = capture.timing.line_time_ns
    known: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "frame": {
            "file": capture.file,
            "width": capture.width,
            "height": capture.height,
            "tone": _tone_keys(capture.tone),
            "orientation": capture.orientation,
        },
        "timing": {
            "first_row_end_ns": int(capture.timing.first_row_end_ns),
            "exposure_ns": int(capture.timing.exposure_ns),
            "line_time_ns": int(line_time_ns) if line_time_ns % 1 == 0 else float(line_time_ns),
            "row_order": capture.timing.row_order,
        },
        "sensor": {"model": capture.sensor_model, "analogue_gain": capture.analogue_gain},
        "scene": {"depth_m": capture.depth_m},
        "metadata": jsonable(capture.metadata),
        "warnings": [warning.to_json() for warning in capture.warnings],
    }
    if capture.noise is not None:
        noise = {"shot": float(capture.noise.shot), "read": float(capture.noise.read)}
        known["sensor"]["noise"] = noise
    document = _merged(jsonable(capture.extra), known)
    try:
        CaptureKeys.model_validate(document)
    except ValidationError as error:
        raise first_problem("capture.json", error) from None
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def _merged(extra: Any, known: dict[str, Any]) -> dict[str, Any]:
    """The known keys with the unknown ones beside them; a known key is never replaced."""
    document = dict(known)
    for key, value in (extra if isinstance(extra, dict) else {}).items():
        if key not in known:
            document[key] = value
        elif isinstance(known[key], dict) and key != "metadata":
            document[key] = _merged(value, known[key])
    return document


def jsonable(value: object) -> Any:
    """A camera's metadata as JSON can hold it: arrays and tuples as lists, NaN as null.

    What has no JSON form is kept as its text, so that nothing of the metadata is lost.
    """
    if isinstance(value, Mapping):
        return {str(key): jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(inner) for inner in value]
    if isinstance(value, np.ndarray | np.generic):
        return jsonable(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)
