"""The configuration file: what a camera is made of and where its photographs go.

deploy/config.example.yaml explains every key. `load_config` reports every mistake at once, each
as `file:line: key: found X, expected Y`; an unknown key is a mistake, with the nearest name.
Relative paths start at the folder of the configuration file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from device.config_errors import ConfigError, explain
from device.config_service import (
    DeliveryConfig,
    LedConfig,
    RetentionConfig,
    ServiceConfig,
    ShutterConfig,
)
from device.config_types import FilePath, OrEmpty, Section
from device.config_yaml import Document, parse_yaml
from device.errors import InputError
from device.shipped_models import SHIPPED_MODELS, ShippedModel
from device.validation import read_text, shown

DEFAULT_PATH = Path("/etc/stillpi/stillpi.yaml")

HEADER_PORTS = ("/dev/serial0", "/dev/ttyAMA0", "/dev/ttyS0")
"""Serial ports that are, or may be, the header's GPIO 14 and 15."""

Auto = Literal["auto"]


def _axes(value: str) -> str:
    if sorted(value.upper()) != ["X", "Y", "Z"] or _determinant(value) < 0:
        raise PydanticCustomError("axes", "axes")
    return value


def _determinant(axes: str) -> int:
    swaps = sum(a > b for i, a in enumerate(axes.upper()) for b in axes.upper()[i + 1 :])
    flips = sum(letter.islower() for letter in axes)
    return -1 if (swaps + flips) % 2 else 1


# In strict mode a tuple would not take a YAML list; the elements stay strict.
Pixels = Annotated[int, Field(ge=16, le=16384)]
Size = Annotated[tuple[Pixels, Pixels], Field(strict=False)]
Seconds = Annotated[float, Field(ge=1e-5, le=10.0)]
Gain = Annotated[float, Field(ge=1.0, le=64.0)]
ColourGain = Annotated[float, Field(gt=0.0, le=32.0)]
Orientation = Annotated[int, Field(ge=1, le=8)]

SIZE = "[width, height] in pixels, 16 to 16384"
SECONDS = "seconds, 0.00001 to 10"
ORIENTATION = "an EXIF orientation, 1 to 8 (3: the camera hangs upside down)"


class PicameraConfig(Section):
    """The camera on a Raspberry Pi."""

    kind: Literal["picamera2"]
    number: int = Field(default=0, ge=0, le=15, description="the number of the camera, 0 to 15")
    sensor_mode: Size | None = Field(default=None, description=f"a mode of the sensor, {SIZE}")
    size: Size | None = Field(default=None, description=f"the picture's {SIZE}")
    exposure_s: Seconds | Auto = Field(default="auto", description=f"{SECONDS}, or auto")
    analogue_gain: Gain | Auto = Field(default="auto", description="a number, 1 to 64, or auto")
    colour_gains: Annotated[tuple[ColourGain, ColourGain], Field(strict=False)] | Auto = Field(
        default="auto", description="[red, blue], each above 0 and at most 32, or auto"
    )
    max_exposure_s: Seconds = Field(default=0.1, description=SECONDS)
    max_analogue_gain: Gain = Field(default=16.0, description="a number, 1 to 64")
    lens_position: float | None = Field(
        default=None, ge=0, le=32, description="dioptres, 0 (far away) to 32 (3 cm)"
    )
    lens_focal_mm: float | None = Field(
        default=None, gt=0, le=1000, description="the lens's focal length in mm, up to 1000"
    )
    line_time_us: float | None = Field(
        default=None, gt=0, le=1000, description="microseconds, above 0, at most 1000"
    )
    rotate_180: bool = Field(default=False, description="true or false")
    orientation: Orientation = Field(default=1, description=ORIENTATION)
    tuning_file: FilePath | None = Field(
        default=None, description="the path of a libcamera tuning file"
    )


class MotionConfig(Section):
    """How the simulated hand moves."""

    kind: Literal["hand_shake", "recording", "still"] = Field(
        default="hand_shake", description="hand_shake, recording or still"
    )
    file: FilePath | None = Field(default=None, description="the path of a motion log")
    rate_deg_s: float = Field(default=5.0, ge=0, le=200, description="deg/s, 0 to 200")
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="a whole number, 0 or more")


class TwinConfig(Section):
    """The simulated camera."""

    kind: Literal["twin"]
    scene: FilePath | None = Field(default=None, description="the path of a sharp photograph")
    size: Size = Field(default=(1024, 768), description=f"the picture's {SIZE}")
    exposure_s: Seconds = Field(default=0.05, description=SECONDS)
    line_time_us: float = Field(default=40.0, ge=0, le=1000, description="microseconds, 0 to 1000")
    analogue_gain: Gain = Field(default=4.0, description="a number, 1 to 64")
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="a whole number, 0 or more")
    motion: MotionConfig = Field(default=MotionConfig(), description="kind, file, ...")


class ReplayConfig(Section):
    """Photographs that were taken before, one after the other."""

    kind: Literal["replay"]
    folder: FilePath = Field(description="a bundle NAME.capture or a folder of bundles")


class SerialConfig(Section):
    """A WT901 on a serial port."""

    kind: Literal["serial"]
    port: FilePath = Field(default=Path("/dev/imu"), description="the path of a serial port")
    baud: Literal[9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600] | Auto = Field(
        default="auto", description="9600, 19200, ... 921600, or auto"
    )


class I2cConfig(Section):
    """A WT901 on an I2C bus."""

    kind: Literal["i2c"]
    bus: int = Field(default=1, ge=0, le=255, description="the number of the bus, 0 to 255")
    address: int = Field(0x50, ge=0x08, le=0x77, description="an I2C address, 0x08 to 0x77")


class EmulatorConfig(Section):
    """The simulated WT901, moved as the twin is."""

    kind: Literal["emulator"]
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="a whole number, 0 or more")


class NoImuConfig(Section):
    """No motion sensor: photographs are kept as they are."""

    kind: Literal["none"]


class OutputConfig(Section):
    """Where photographs go and how they are written."""

    folder: FilePath = Field(
        default=Path("/var/lib/stillpi/photos"), description="the path of a folder"
    )
    format: Literal["jpg", "png"] = Field(default="jpg", description="jpg or png")
    quality: int = Field(default=95, ge=1, le=100, description="a JPEG quality, 1 to 100")
    bundle_format: Literal["jpg", "png"] = Field(default="jpg", description="jpg or png")


class RestorationConfig(Section):
    """How photographs are restored."""

    model: ShippedModel | Literal["none"] | FilePath = Field(
        default="default",
        description=f"{', '.join(SHIPPED_MODELS)}, none or the path of a model bundle",
    )
    threads: int | None = Field(
        default=None, ge=1, le=64, description="a number of threads, 1 to 64"
    )


CameraConfig = Annotated[
    PicameraConfig | TwinConfig | ReplayConfig,
    Field(discriminator="kind", description="a section with kind picamera2, twin or replay"),
]
ImuConfig = Annotated[
    SerialConfig | I2cConfig | EmulatorConfig | NoImuConfig,
    Field(discriminator="kind", description="a section with kind serial, i2c, emulator or none"),
]


class Config(Section):
    """The whole file.

    output.folder : photos in service.state where it is left out.
    imu_axes : what of the motion sensor points along the camera's x (right), y (down) and z
        (forward): capital letters along, small ones against; used where no calibration says it.
    """

    camera: CameraConfig
    imu: ImuConfig
    calibration: FilePath | None = Field(default=None, description="the path of a calibration")
    imu_axes: Annotated[str, AfterValidator(_axes)] = Field(
        default="XYZ",
        description="the letters x, y, z, capital or small, right-handed, such as XYZ or yXZ",
    )
    service: Annotated[ServiceConfig, OrEmpty] = Field(
        default=ServiceConfig(), description="state, socket, ..."
    )
    output: Annotated[OutputConfig, OrEmpty] = Field(
        default=OutputConfig(), validate_default=True, description="folder, format, ..."
    )
    restoration: Annotated[RestorationConfig, OrEmpty] = Field(
        default=RestorationConfig(), description="model, threads"
    )
    shutter: Annotated[ShutterConfig, OrEmpty] = Field(
        default=ShutterConfig(), description="kind, pin, ..."
    )
    led: Annotated[LedConfig, OrEmpty] = Field(default=LedConfig(), description="kind, pin")
    delivery: Annotated[DeliveryConfig, OrEmpty] = Field(
        default=DeliveryConfig(), description="bundle, push"
    )
    retention: Annotated[RetentionConfig, OrEmpty] = Field(
        default=RetentionConfig(), description="keep_days, free_mb, floor_mb"
    )

    @field_validator("output")
    @classmethod
    def _photographs_lie_with_the_state(
        cls, output: OutputConfig, info: ValidationInfo
    ) -> OutputConfig:
        service = info.data.get("service")
        if service is None or "folder" in output.model_fields_set:
            return output
        return output.model_copy(update={"folder": service.state / "photos"})


def load_config(path: str | os.PathLike[str]) -> Config:
    """Read a configuration; raises ConfigError with every mistake in it."""
    path = Path(path)
    try:
        document = parse_yaml(str(path), read_text(path, "a configuration, as the example shows"))
    except InputError as error:
        raise ConfigError([error]) from None
    try:
        config = Config.model_validate(document.data, context=path.parent)
    except ValidationError as error:
        raise ConfigError([*document.problems, *explain(document, Config, error)]) from None
    problems = [*document.problems, *_contradictions(config, document)]
    if problems:
        raise ConfigError(problems)
    return config


def default_config() -> Config:
    """The configuration of this machine; raises InputError that says what to do without one."""
    if DEFAULT_PATH.exists():
        return load_config(DEFAULT_PATH)
    raise InputError(
        DEFAULT_PATH,
        "file",
        "nothing",
        "a configuration (or name one with --config, or use --simulate)",
    )


def simulated_config() -> Config:
    """The twin and the emulator: everything but the hardware."""
    return Config(
        camera=TwinConfig(kind="twin"),
        imu=EmulatorConfig(kind="emulator"),
        output=OutputConfig(folder=Path("photos")),
    )


def _contradictions(config: Config, document: Document) -> Iterator[InputError]:
    """Values that are fine alone and impossible together."""
    camera, imu = config.camera, config.imu
    if isinstance(imu, EmulatorConfig) and not isinstance(camera, TwinConfig):
        yield document.problem(
            ("imu", "kind"), "imu.kind", shown(imu.kind), "serial, i2c or none beside a real camera"
        )
    if isinstance(camera, PicameraConfig):
        yield from _beyond_limits(camera, document)
    if isinstance(camera, TwinConfig) and (camera.motion.kind == "recording") != bool(
        camera.motion.file
    ):
        where = ("camera", "motion", "file")
        expected = "a motion log with kind recording, and only with it"
        yield document.problem(where, "camera.motion.file", shown(camera.motion.file), expected)
    yield from _pins_in_use(config, document)
    kept = config.retention
    if kept.floor_mb > kept.free_mb:
        expected = f"at most retention.free_mb, {kept.free_mb}"
        key = ("retention", "floor_mb")
        yield document.problem(key, "retention.floor_mb", str(kept.floor_mb), expected)


def _pins_in_use(config: Config, document: Document) -> Iterator[InputError]:
    """Pins that two things would share."""
    taken: dict[int, str] = {}
    if isinstance(config.imu, I2cConfig) and config.imu.bus == 1:
        taken = dict.fromkeys((2, 3), "imu (I2C bus 1)")
    if isinstance(config.imu, SerialConfig) and str(config.imu.port) in HEADER_PORTS:
        taken = dict.fromkeys((14, 15), f"imu ({config.imu.port})")
    sections: Sequence[tuple[str, ShutterConfig | LedConfig]] = (
        ("shutter", config.shutter),
        ("led", config.led),
    )
    for name, section in sections:
        if section.kind == "none":
            continue
        if section.pin in taken:
            expected = f"a pin that {taken[section.pin]} does not use"
            yield document.problem((name, "pin"), f"{name}.pin", str(section.pin), expected)
        taken[section.pin] = name


def _beyond_limits(camera: PicameraConfig, document: Document) -> Iterator[InputError]:
    pairs: Sequence[tuple[str, float | str, float]] = (
        ("exposure_s", camera.exposure_s, camera.max_exposure_s),
        ("analogue_gain", camera.analogue_gain, camera.max_analogue_gain),
    )
    for key, value, limit in pairs:
        if not isinstance(value, str) and value > limit:
            expected = f"at most camera.max_{key}, {limit:g}"
            yield document.problem(("camera", key), f"camera.{key}", f"{value:g}", expected)
