"""Opening a camera module through picamera2: tuning, read-out mode, the one configuration.

picamera2 and libcamera come from the Pi's packages and are imported only here, when a camera is
opened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from device.capture.camera import GammaCurve
from device.capture.linetime import LineClock
from device.capture.readout import Readout, Rectangle, Size
from device.capture.sensors import Sensor, find_sensor
from device.capture.tuning import fixed_tone
from device.config import PicameraConfig
from device.errors import CameraError


@dataclass(frozen=True)
class CameraModule:
    """An open, configured camera and what does not change about it.

    picam : the Picamera2 object.
    sensor : what the table knows of it, None for an unknown one.
    mode_size, mode_crop, array : see `Readout`; array is the size of the sensor's full array.
    size : of the pictures.
    swap_colours : the arrays hold B, G, R.
    """

    picam: Any
    model: str
    sensor: Sensor | None
    tone: GammaCurve
    mode_size: Size
    mode_crop: Rectangle
    array: Size
    size: Size
    swap_colours: bool

    def readout(self, scaler_crop: Sequence[int] | None) -> Readout:
        """How a picture lies on the sensor; None: it shows all the mode reads."""
        crop = self.mode_crop if scaler_crop is None else _rectangle(scaler_crop)
        return Readout(self.mode_size, self.mode_crop, crop, self.size)


def import_camera_package(name: str) -> Any:
    """picamera2 or libcamera; raises CameraError that says how to get them."""
    try:
        return import_module(name)
    except ImportError as error:
        raise CameraError(
            f"{error}: camera modules need a Raspberry Pi with"
            " `apt install --no-install-recommends python3-picamera2` and a virtual environment"
            " made with --system-site-packages (or use --simulate)"
        ) from error


def camera_info(number: int) -> Mapping[str, Any]:
    """Model and Id of a camera; raises CameraError when there is none of this number."""
    cameras = import_camera_package("picamera2").Picamera2.global_camera_info()
    if number >= len(cameras):
        names = ", ".join(str(camera.get("Model")) for camera in cameras) or "none"
        raise CameraError(f"no camera number {number}: libcamera finds {names}")
    info: Mapping[str, Any] = cameras[number]
    return info


def refuse_hdr(model: str, line_clock: LineClock) -> None:
    """Raise CameraError when the sensor merges exposures: no single blur explains its frames."""
    if model.startswith("imx708") and line_clock.wide_dynamic_range():
        raise CameraError(
            f"{model}: its HDR mode merges three exposures; switch it off"
            " (v4l2-ctl --set-ctrl wide_dynamic_range=0 -d /dev/v4l-subdevN)"
        )


def open_module(config: PicameraConfig, model: str) -> CameraModule:
    """Open and configure the camera; it is closed again when that fails.

    Raises CameraError, or the RuntimeError of picamera2.
    """
    class_ = import_camera_package("picamera2").Picamera2
    tuning, tone = _load_tuning(class_, model, config.tuning_file)
    picam = class_(config.number, tuning=tuning)
    try:
        return _configure(picam, config, model, tone)
    except BaseException:
        picam.close()
        raise


def _load_tuning(class_: Any, model: str, file: Path | None) -> tuple[dict[str, Any], GammaCurve]:
    name = str(file) if file else f"{model}.json"
    try:
        tuning = json.loads(file.read_text()) if file else class_.load_tuning_file(name)
    except (RuntimeError, OSError, ValueError) as error:
        raise CameraError(f"{name}: cannot read the tuning: {error}") from error
    if not isinstance(tuning, dict):
        raise CameraError(f"{name}: not a libcamera tuning")
    return fixed_tone(tuning, name)


def _configure(picam: Any, config: PicameraConfig, model: str, tone: GammaCurve) -> CameraModule:
    # Reading the modes reconfigures the camera: once, before our own configuration.
    mode = _choose_mode(picam.sensor_modes, config.sensor_mode)
    asked = config.size or _size(mode["size"])
    picam.configure(
        picam.create_still_configuration(
            main={"size": asked, "format": "BGR888"},  # R, G, B in memory
            raw=None,
            sensor={"output_size": _size(mode["size"]), "bit_depth": mode["bit_depth"]},
            transform=import_camera_package("libcamera").Transform(
                hflip=int(config.rotate_180), vflip=int(config.rotate_180)
            ),
            buffer_count=2,
            queue=False,  # no frame is kept from before it was asked for
        )
    )
    main = _given_stream(picam.camera_configuration(), asked, config.rotate_180)
    sensor, crop = find_sensor(model), _rectangle(mode["crop_limits"])
    array = picam.camera_properties.get("PixelArraySize")
    if array is None:
        array = sensor.full_size if sensor else crop[2:]
    return CameraModule(
        picam=picam,
        model=model,
        sensor=sensor,
        tone=tone,
        mode_size=_size(mode["size"]),
        mode_crop=crop,
        array=_size(array),
        size=asked,
        swap_colours=main["format"] == "RGB888",
    )


def _choose_mode(modes: Sequence[Mapping[str, Any]], wanted: Size | None) -> Mapping[str, Any]:
    """The wanted mode or the largest, at its greatest bit depth."""
    raw = [mode for mode in modes if "size" in mode and "crop_limits" in mode]
    if not raw:
        raise CameraError("not a camera module: it has no raw read-out modes")
    fitting = [mode for mode in raw if wanted is None or _size(mode["size"]) == wanted]
    if not fitting:
        sizes = sorted({f"{mode['size'][0]}x{mode['size'][1]}" for mode in raw})
        assert wanted is not None
        raise CameraError(
            f"no read-out mode {wanted[0]}x{wanted[1]}: the sensor has {', '.join(sizes)}"
        )
    return max(fitting, key=lambda mode: (mode["size"][0] * mode["size"][1], mode["bit_depth"]))


def _given_stream(given: Mapping[str, Any], asked: Size, rotate_180: bool) -> Mapping[str, Any]:
    """The main stream as libcamera gives it; raises CameraError where it is not as asked."""
    main: Mapping[str, Any] = given["main"]
    if main["format"] not in ("BGR888", "RGB888"):
        raise CameraError(f"the camera gives {main['format']} instead of BGR888")
    if _size(main["size"]) != asked:
        got = f"{main['size'][0]}x{main['size'][1]}"
        raise CameraError(f"the camera gives {got} instead of {asked[0]}x{asked[1]}")
    transform = given["transform"]
    if (bool(transform.hflip), bool(transform.vflip)) != (rotate_180, rotate_180):
        raise CameraError(f"the camera gives the transform {transform}, not the one asked for")
    return main


def _size(value: Sequence[int]) -> Size:
    return int(value[0]), int(value[1])


def _rectangle(value: Sequence[int]) -> Rectangle:
    return int(value[0]), int(value[1]), int(value[2]), int(value[3])
