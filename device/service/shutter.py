"""The button on a GPIO pin: a thread that watches it and tells presses.

An edge wakes the thread; between edges it looks at the pin itself, often while a press is going
on and a few times a second otherwise. `device.service.presses` makes presses of that.

Failure policy: a button that cannot be opened is a GpioError. One that is stuck is logged once
and fires once; `stillpi trigger` works all the same. If the thread dies later, `check` says so
to the work loop that calls it: the service must not run on deaf.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from device.config_service import ShutterConfig
from device.errors import StillpiError
from device.service.gpio import pin_errors, pin_factory
from device.service.presses import Press, PressDetector

_log = logging.getLogger(__name__)

OnPress = Callable[[Press], object]

LOOK_BUSY_S = 0.01
LOOK_IDLE_S = 0.1
STUCK_S = 20.0
OLDEST_EDGE_S = 5.0
"""An edge whose time is not within this of now is of another clock (old kernels)."""
_JOIN_S = 5.0


class ShutterError(StillpiError, RuntimeError):
    """The thread that watches the button has died."""


class Shutter:
    """What the work loop holds of the button; the thread that watches it, None without one."""

    def __init__(self, thread: threading.Thread | None = None) -> None:
        self._thread = thread

    def check(self) -> None:
        """Raise ShutterError if the button is no longer watched."""
        if self._thread is not None and not self._thread.is_alive():
            raise ShutterError("shutter: its thread has died (the reason is in the log above)")


@contextmanager
def open_shutter(
    config: ShutterConfig,
    on_press: OnPress,
    *,
    monotonic_s: Callable[[], float] = time.monotonic,
) -> Iterator[Shutter]:
    """Watch the configured button; nothing is watched where its kind is none.

    on_press : called in the button's own thread with "short" or "long"; must return at once.
    Raises GpioError.
    """
    if config.kind == "none":
        yield Shutter()
        return
    with pin_errors("shutter", config.pin):
        from gpiozero import InputDevice

        device = InputDevice(config.pin, pull_up=config.pull_up, pin_factory=pin_factory())
    with closing(device):
        watcher = _Watcher(device, config, on_press, monotonic_s)
        with pin_errors("shutter", config.pin):
            device.pin.edges = "both"
            device.pin.when_changed = watcher.changed
        watcher.start()
        try:
            yield watcher.shutter
        finally:
            device.pin.when_changed = None
            watcher.stop()


class _Watcher:
    def __init__(
        self,
        device: Any,
        config: ShutterConfig,
        on_press: OnPress,
        monotonic_s: Callable[[], float],
    ) -> None:
        self._device, self._on_press, self._monotonic_s = device, on_press, monotonic_s
        self._active_level = not config.pull_up
        self._detector = PressDetector(config.debounce_s, config.long_press_s)
        self._edges: queue.SimpleQueue[tuple[float, bool]] = queue.SimpleQueue()
        self._wake, self._stop = threading.Event(), threading.Event()
        self._stuck = False
        self._thread = threading.Thread(target=self._run, name="shutter", daemon=True)
        self.shutter = Shutter(self._thread)

    def start(self) -> None:
        self._look()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()
        self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            _log.error("the shutter's thread does not stop")

    def changed(self, ticks_s: float, level: int) -> None:
        """An edge, in the thread of the GPIO library."""
        now_s = self._monotonic_s()
        known = now_s - OLDEST_EDGE_S < ticks_s <= now_s
        self._edges.put((ticks_s if known else now_s, bool(level) == self._active_level))
        self._wake.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._look()
            self._wake.wait(LOOK_BUSY_S if self._detector.unsettled else LOOK_IDLE_S)
            self._wake.clear()

    def _look(self) -> None:
        presses: list[Press] = []
        while not self._edges.empty():
            at_s, active = self._edges.get()
            presses += self._detector.see(at_s, active, edge=True)
        presses += self._detector.see(self._monotonic_s(), bool(self._device.is_active))
        for press in presses:
            self._on_press(press)
        self._complain_if_stuck()

    def _complain_if_stuck(self) -> None:
        down_s = self._detector.held_s
        stuck = down_s is not None and self._monotonic_s() - down_s > STUCK_S
        if stuck and not self._stuck:
            _log.warning(
                "the shutter button has been down for %.0f s: is it stuck, or shutter.pull_up"
                " wrong? `stillpi trigger` works all the same",
                STUCK_S,
            )
        self._stuck = stuck
