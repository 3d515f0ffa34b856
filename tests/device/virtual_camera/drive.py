"""Runs inside the unpacked folder: our adapter on the real picamera2, results as JSON.

What the virtual camera lacks and a camera module has is added here, and nothing else: read-out
modes, RGB from its NV12, ExposureTime in the metadata, frame buffers without a dma-heap.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import cv2
import libcamera
import picamera2
from picamera2 import picamera2 as implementation
from picamera2.allocators.allocator import Allocator

from device.capture.picamera2_camera import PicameraCamera
from device.config import PicameraConfig
from device.errors import CameraError
from device.photo import take_photo

SIZE = (1280, 720)
EXPOSURE_US = 10_000


class _Mapped:
    def __init__(self, allocator: Allocator, buffer: Any, write: bool) -> None:
        self._buffer = buffer

    def __enter__(self) -> mmap.mmap:
        length = sum(plane.length for plane in self._buffer.planes)
        self._memory = mmap.mmap(self._buffer.planes[0].fd, length)
        return self._memory

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BufferError):  # an array still looks at it: picamera2 allows it
            self._memory.close()


class MemoryAllocator(Allocator):
    """Frame buffers in anonymous memory; counts who holds how many."""

    held = 0

    def __init__(self) -> None:
        super().__init__()
        self.sync = _Mapped
        self.frame_buffers: dict[Any, list[Any]] = {}

    def allocate(self, libcamera_config: Any, use_case: str) -> None:
        for stream_config in libcamera_config:
            buffers = []
            luma = stream_config.size.width * stream_config.size.height
            for _ in range(stream_config.buffer_count):
                fd = os.memfd_create("frame")
                os.ftruncate(fd, stream_config.frame_size)
                planes = []
                for offset, length in ((0, luma), (luma, stream_config.frame_size - luma)):
                    plane = libcamera.FrameBuffer.Plane()
                    plane.fd, plane.offset, plane.length = fd, offset, length
                    planes.append(plane)
                buffers.append(libcamera.FrameBuffer(planes))
            self.frame_buffers[stream_config.stream] = buffers

    def buffers(self, stream: Any) -> list[Any]:
        return self.frame_buffers[stream]

    def acquire(self, buffers: Any) -> None:
        type(self).held += 1

    def release(self, buffers: Any) -> None:
        type(self).held -= 1

    def cleanup(self) -> None:
        pass

    def close(self) -> None:
        pass


implementation.DmaAllocator = MemoryAllocator  # close() makes a new one


class VirtualPicamera2(picamera2.Picamera2):
    """The real class on the virtual camera."""

    opened: ClassVar[list[VirtualPicamera2]] = []
    configurations = 0

    def __init__(self, number: int = 0, tuning: Any = None) -> None:
        super().__init__(number, tuning=tuning, allocator=MemoryAllocator())
        self.opened.append(self)

    def _get_raw_modes(self) -> list[dict[str, Any]]:
        return [{"format": "NV12", "size": SIZE}]

    @property
    def sensor_modes(self) -> list[dict[str, Any]]:
        return [{"format": "NV12", "size": SIZE, "bit_depth": 12, "crop_limits": (0, 0, *SIZE)}]

    def create_still_configuration(
        self, main: Mapping[str, Any] = MappingProxyType({}), **keys: Any
    ) -> dict[str, Any]:
        return super().create_still_configuration(main={**main, "format": "NV12"}, **keys)

    def configure(self, camera_config: Any = None) -> None:
        self.configurations += 1
        super().configure(camera_config)

    def camera_configuration(self) -> dict[str, Any]:
        config = super().camera_configuration()
        return {**config, "main": {**config["main"], "format": "BGR888"}}


def add_what_a_module_tells(request_class: Any) -> None:
    tell, make = request_class.get_metadata, request_class.make_array

    def get_metadata(self: Any) -> dict[str, Any]:
        return {**tell(self), "ExposureTime": EXPOSURE_US, "AnalogueGain": 2.0}

    def make_array(self: Any, name: str) -> Any:
        return cv2.cvtColor(make(self, name), cv2.COLOR_YUV2RGB_NV12)

    request_class.get_metadata, request_class.make_array = get_metadata, make_array


def opened(**keys: Any) -> PicameraCamera:
    fixed = {
        "exposure_s": EXPOSURE_US * 1e-6,
        "analogue_gain": 2.0,
        "colour_gains": (1.0, 1.0),
        "lens_focal_mm": 6.0,
        "line_time_us": 0.001,  # its frames arrive the moment they are stamped
    }
    return PicameraCamera(PicameraConfig.model_validate({"kind": "picamera2", **fixed, **keys}))


def refusal(**keys: Any) -> str:
    try:
        with opened(**keys) as camera:
            camera.capture()
    except CameraError as error:
        return str(error)
    return "not refused"


def as_it_is(folder: Path) -> dict[str, Any]:
    """The virtual camera without ExposureTime."""
    return {"refusal": refusal()}


def rotated(folder: Path) -> dict[str, Any]:
    with opened(rotate_180=True) as camera:
        return {"shape": camera.capture().pixels.shape}


def shots(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = {"no_camera": refusal(number=3)}
    taken = []
    with opened() as camera:
        for _ in range(8):  # more than there are buffers: every request must come back
            asked_ns = time.monotonic_ns()
            frame = camera.capture()
            taken.append(
                {
                    "fresh": frame.timing.start_ns >= asked_ns,
                    "past": frame.timing.start_ns <= time.monotonic_ns(),
                    "timestamp": frame.metadata["SensorTimestamp"],
                }
            )
        take_photo(camera, None, folder / "a.capture", frame_format="png")
        real = VirtualPicamera2.opened[-1]
        result |= {
            "shots": taken,
            "shape": frame.pixels.shape,
            "columns": frame.pixels[360, 80::160].tolist(),
            "metadata": sorted(frame.metadata),
            "queue_length": real._max_queue_len,
            "buffers": real.camera_config["buffer_count"],
            "configurations": real.configurations,
        }
        camera.close()
    result["held"] = MemoryAllocator.held
    result["wrong_size"] = refusal(size=(640, 480))
    return result


def main() -> None:
    """Run the scenario of this name; one a process, as libcamera 0.4 sometimes dies reopening."""
    scenario, folder = sys.argv[1], Path(sys.argv[2])
    picamera2.Picamera2 = VirtualPicamera2
    if scenario != "as_it_is":
        add_what_a_module_tells(implementation.CompletedRequest)
    run = {"as_it_is": as_it_is, "rotated": rotated, "shots": shots}[scenario]
    print(json.dumps(run(folder)))


if __name__ == "__main__":
    main()
