"""The shape of camera.yaml: Kalibr's keys and their types, before anything is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from device.errors import InputError
from device.validation import first_problem, shown


def _number(value: object) -> object:
    # YAML 1.1 reads 1e-3 as text (it wants 1.0e-3); a person means the number.
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Pixels = Annotated[int, Field(gt=0, le=1 << 20)]
Four = Annotated[list[Number], Field(min_length=4, max_length=4)]
Three = Annotated[list[Number], Field(min_length=3, max_length=3)]


class Cam0(BaseModel):
    """The keys of cam0 that are used; others are Kalibr's own business and ignored."""

    model_config = ConfigDict(strict=True, extra="ignore")

    camera_model: Literal["pinhole"]
    intrinsics: Four
    distortion_model: Literal["none", "radtan", "equidistant"]
    distortion_coeffs: Annotated[list[Number], Field(max_length=4)]
    resolution: Annotated[list[Pixels], Field(min_length=2, max_length=2)]
    T_cam_imu: Annotated[list[Four], Field(min_length=4, max_length=4)]
    timeshift_cam_imu: Number
    gyro_bias_imu_rad_s: Three | None = None


def parse_cam0(path: Path, text: str) -> Cam0:
    """The cam0 of a Kalibr YAML text; raises InputError naming the key or the line."""
    try:
        document = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}" if error.problem_mark else "the document"
        raise InputError(path, line, error.problem or "a syntax error", "YAML") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(path, "the document", shown(str(error)), "YAML") from None
    if not isinstance(document, dict) or "cam0" not in document:
        raise InputError(path, "cam0", "nothing", "Kalibr's camera cam0")
    try:
        return Cam0.model_validate(document["cam0"])
    except ValidationError as error:
        raise first_problem(path, error, "cam0") from None
