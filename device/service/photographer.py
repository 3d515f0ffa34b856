"""From a press to a photograph on the disk: the camera warm, one press after the other.

The exposure's rule: the camera's own automatic settles when it is opened, and again every few
seconds while nobody presses; what it found is held for the photographs until then, within the
configured limits. A long press takes three photographs, darker, as metered and brighter, where
the camera can set that, and three equal ones where it cannot.

Failure policy
- A press is answered only when its bundle is whole and synced and the journal knows it; whatever
  dies before, the press was never answered. It is refused with a reason when there is no room,
  no camera, or when too many wait already.
- A motion sensor that is missing, silent or mad never stops a photograph (`device.photo`).
- A camera that fails is closed and opened again, every few seconds, for ever; so is a motion
  sensor whose reader died.
- A photograph that could not be taken costs its number, which is never given again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from device.capture.open import Rig
from device.errors import CameraError, StillpiError
from device.notices import Notice
from device.photo import Photo, TellsHealth, take_photo
from device.service.journal import Journal, JournalError
from device.service.names import bundle_name
from firmware_bridge.errors import BridgeError
from firmware_bridge.reader_stats import ReaderStats

_log = logging.getLogger(__name__)

Press = Literal["short", "long"]
Doing = Literal["opening", "ready", "taking", "failed"]

MOST_WAITING = 8
"""Presses that wait; further ones are refused."""
METER_EVERY_S = 5.0
_OPEN_AGAIN_S = (1.0, 2.0, 5.0, 10.0)
_LOOK_AROUND_S = 1.0
_EXPECTED = (StillpiError, BridgeError, OSError)


class RefusedError(StillpiError, RuntimeError):
    """No photograph is taken now; the message says why and what to do."""


@runtime_checkable
class SetsExposure(Protocol):
    """A camera whose exposure can be moved against what it is locked to."""

    def set_stops(self, stops: float) -> None:
        """Take the next photographs so many stops brighter; 0 is as locked."""
        ...


@runtime_checkable
class Meters(Protocol):
    """A camera that can measure the light anew."""

    def meter(self) -> None:
        """Settle the exposure, and hold it."""
        ...


@dataclass(frozen=True, slots=True)
class TakenPhoto:
    """A photograph that is safe: on the disk and in the journal."""

    number: int
    bundle: Path
    notices: tuple[Notice, ...]


@dataclass(frozen=True, slots=True)
class _Waiting:
    press: Press
    answer: Future[list[TakenPhoto]]


class Photographer:
    """Owns the camera and the motion sensor; `step` runs in one thread, `press` in any.

    open_rig : opens both, as a context manager. photos : the folder of bundles.
    refuse : tells why no photograph may be taken now (no room), None when one may.
    bracket_stops : the step of a bracket. pressed : called after a press was taken in, taken :
        after its photographs are safe.
    """

    def __init__(
        self,
        journal: Journal,
        photos: Path,
        open_rig: Callable[[], AbstractContextManager[Rig]],
        *,
        refuse: Callable[[], str | None] = lambda: None,
        bracket_stops: float = 1.0,
        bundle_format: Literal["jpg", "png"] = "jpg",
        pressed: Callable[[], None] = lambda: None,
        taken: Callable[[], None] = lambda: None,
    ) -> None:
        self.doing: Doing = "opening"
        self.trouble: str | None = None
        """Why there is no camera now."""
        self.last_failure: str | None = None
        """Why the last press gave no photograph; None when it gave one."""
        self._journal, self._photos, self._open_rig = journal, photos, open_rig
        self._refuse, self._pressed, self._taken = refuse, pressed, taken
        self._bracket_stops = bracket_stops
        self._bundle_format: Literal["jpg", "png"] = bundle_format
        self._lock = threading.Lock()  # guards the two below
        self._waiting: deque[_Waiting] = deque()
        self._closed = False
        self._rig: Rig | None = None
        self._opened = ExitStack()
        self._failures = 0
        self._metered_s = 0.0

    def press(self, press: Press = "short") -> Future[list[TakenPhoto]]:
        """Take a photograph, or the three of a bracket.

        The answer comes when all are safe; its exception is RefusedError, a CameraError, or an
        OSError. Those of a bracket that were taken before it failed are kept all the same.
        """
        answer: Future[list[TakenPhoto]] = Future()
        with self._lock:
            if self._closed:
                answer.set_exception(RefusedError("the service is stopping"))
            elif len(self._waiting) >= MOST_WAITING:
                answer.set_exception(RefusedError(f"{MOST_WAITING} presses wait already"))
            else:
                self._waiting.append(_Waiting(press, answer))
        self._pressed()
        return answer

    def imu_stats(self) -> ReaderStats | None:
        """How the motion sensor is doing; None without one."""
        rig = self._rig
        return rig.log.stats() if rig is not None and isinstance(rig.log, TellsHealth) else None

    def step(self) -> float:
        """Open the camera, or take what was asked for; seconds until it is worth another look."""
        rig = self._rig
        if rig is None:
            return self._open()
        stats = self.imu_stats()
        if stats is not None and not stats.alive:
            self._lose("the motion sensor's reader has died")
            return 0.0
        asked = self._next()
        if asked is None:
            self._meter(rig)
            return _LOOK_AROUND_S
        self.doing = "taking"
        self._answer(rig, asked)
        if self._rig is not None:
            self.doing = "ready"
        return 0.0

    def close(self) -> None:
        """Refuse what waits and close the camera; twice is fine."""
        with self._lock:
            self._closed = True
        self._refuse_waiting(RefusedError("the service is stopping"))
        self._rig = None
        self._opened.close()

    def _next(self) -> _Waiting | None:
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def _refuse_waiting(self, reason: BaseException) -> None:
        while (asked := self._next()) is not None:
            asked.answer.set_exception(reason)

    def _open(self) -> float:
        try:
            with ExitStack() as stack:
                rig = stack.enter_context(self._open_rig())
                self._opened = stack.pop_all()
        except _EXPECTED as error:
            wait_s = _OPEN_AGAIN_S[min(self._failures, len(_OPEN_AGAIN_S) - 1)]
            self._failures += 1
            self.doing, self.trouble = "failed", f"no camera: {error}"
            _log.error("%s; next try in %g s", self.trouble, wait_s)
            self._refuse_waiting(RefusedError(self.trouble))
            return wait_s
        self._rig, self._failures, self._metered_s = rig, 0, time.monotonic()
        self.doing, self.trouble = "ready", None
        _log.info("the camera is ready")
        return 0.0

    def _lose(self, reason: str) -> None:
        """Close the camera and the sensor, to open them again."""
        self._rig = None
        self.doing, self.trouble = "failed", reason
        _log.error("%s: camera and motion sensor are opened again", reason)
        try:
            self._opened.close()
        except _EXPECTED as error:
            _log.error("while closing them: %s", error)

    def _meter(self, rig: Rig) -> None:
        camera: object = rig.camera
        if time.monotonic() - self._metered_s < METER_EVERY_S or not isinstance(camera, Meters):
            return
        try:
            camera.meter()
        except _EXPECTED as error:
            self._lose(str(error))
        self._metered_s = time.monotonic()

    def _answer(self, rig: Rig, asked: _Waiting) -> None:
        photos: list[TakenPhoto] = []
        try:
            reason = self._refuse()
            if reason is not None:
                raise RefusedError(reason)
            bracket = (-self._bracket_stops, 0.0, self._bracket_stops)
            for stops in bracket if asked.press == "long" else (0.0,):
                photos.append(self._take(rig, stops, photos[0].number if photos else None))
        except _EXPECTED as error:
            _log.error("no photograph: %s", error)
            self.last_failure = str(error)
            asked.answer.set_exception(error)
        else:
            self.last_failure = None
            asked.answer.set_result(photos)
        if photos:
            self._taken()

    def _take(self, rig: Rig, stops: float, bracket: int | None) -> TakenPhoto:
        number = self._journal.reserve(bracket=bracket)
        bundle = self._photos / bundle_name(number)
        try:
            photo = self._expose(rig, stops, bundle)
        except _EXPECTED as error:
            with suppress(JournalError):  # the next start finds the number without its bundle
                self._journal.missed(number, str(error))
            if isinstance(error, CameraError | BridgeError):
                self._lose(str(error))
            raise
        self._journal.taken(number, photo.bundle, [notice.to_json() for notice in photo.notices])
        names = ", ".join(notice.name for notice in photo.notices)
        _log.info("%s taken%s", bundle.name, f" ({names})" if names else "")
        return TakenPhoto(number, photo.bundle, photo.notices)

    def _expose(self, rig: Rig, stops: float, bundle: Path) -> Photo:
        def take() -> Photo:
            return take_photo(
                rig.camera, rig.log, bundle, live=rig.live, frame_format=self._bundle_format
            )

        camera: object = rig.camera
        if stops == 0 or not isinstance(camera, SetsExposure):
            return take()
        camera.set_stops(stops)
        try:
            return take()
        finally:
            camera.set_stops(0.0)
