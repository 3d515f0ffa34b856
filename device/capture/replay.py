"""A camera that replays capture bundles: each shot gives the next one, with its own log.

Failure policy: a bundle that cannot be read fails that shot with its InputError; the next shot
goes on with the next bundle. After the last one a shot raises CameraError.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from device.bundle import Bundle, read_bundle
from device.calibration import CameraCalibration
from device.capture.camera import Frame
from device.errors import CameraError
from firmware_bridge.samples import ImuSamples


class ReplayCamera:
    """A Camera whose frames come from bundles, in order.

    bundles : folders NAME.capture, or folders of such.
    repeat : start again after the last one.

    Raises CameraError when there is none, InputError when the first cannot be read.
    """

    def __init__(self, bundles: Sequence[Path], *, repeat: bool = False) -> None:
        self._paths = _found(bundles)
        self._repeat = repeat
        self._next = 0
        self._closed = False
        if not self._paths:
            raise CameraError(f"no bundles to replay in {', '.join(map(str, bundles))}")
        self._current = read_bundle(self._paths[0])

    @property
    def calibration(self) -> CameraCalibration:
        """That of the frame last given; of the first one before that."""
        return self._current.calibration

    @property
    def bundle(self) -> Bundle:
        """The bundle of the frame last given; the first one before that."""
        return self._current

    def capture(self) -> Frame:
        """The next bundle's frame.

        Raises CameraError after the last one, InputError for one that is bad.
        """
        if self._closed:
            raise CameraError("the replay is closed")
        if self._next == len(self._paths):
            if not self._repeat:
                raise CameraError(f"all {len(self._paths)} bundles have been replayed")
            self._next = 0
        path = self._paths[self._next]
        self._next += 1
        bundle = read_bundle(path)
        frame = bundle.read_frame()
        self._current = bundle
        return frame

    def close(self) -> None:
        """Give no more frames."""
        self._closed = True

    def __enter__(self) -> ReplayCamera:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _found(bundles: Sequence[Path]) -> list[Path]:
    paths: list[Path] = []
    for path in bundles:
        inner = sorted(path.glob("*.capture")) if path.suffix != ".capture" else []
        paths += inner or [path]
    return [path for path in paths if path.is_dir()]


class ReplayImu:
    """The log that belongs to a replayed frame, behind the interface of the sensor's reader."""

    def __init__(self, camera: ReplayCamera) -> None:
        self._camera = camera

    def samples_between(
        self, start_ns: int, end_ns: int, *, wait_until_ns: int | None = None
    ) -> ImuSamples:
        """Samples of the last frame's log with start_ns <= t <= end_ns; nothing to wait for."""
        return self._camera.bundle.samples.between(start_ns, end_ns)
