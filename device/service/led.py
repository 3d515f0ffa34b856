"""The light that tells how the camera is; one LED, one pattern at a time.

    ready       on
    busy        flickers: a photograph is being taken
    backlog     on, with a short gap every second: ready, and older photographs wait
    refusing    two flashes, pause: no room, no new photographs
    error       three flashes, pause: something needs a person, `stillpi status` says what
    off         dark: not running

Failure policy: a light that cannot be opened is a GpioError; one that fails later is logged and
left alone, for it never costs a photograph.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, Literal

from device.config_service import LedConfig
from device.service.gpio import GpioError, pin_errors, pin_factory

_log = logging.getLogger(__name__)

Pattern = Literal["ready", "busy", "backlog", "refusing", "error", "off"]

_FLASH = (0.15, 0.15)
PATTERNS: dict[Pattern, tuple[float, ...]] = {
    "ready": (1.0, 0.0),
    "busy": (0.05, 0.05),
    "backlog": (0.9, 0.1),
    "refusing": (*_FLASH, 0.15, 1.05),
    "error": (*_FLASH, *_FLASH, 0.15, 1.05),
    "off": (0.0, 1.0),
}
"""Seconds on, off, on, off ..., then from the start."""

_ROUNDING_S = 1e-4
_JOIN_S = 5.0


def light(pattern: Pattern, shown_s: float) -> tuple[bool, float | None]:
    """Whether the light is on so long after a pattern began, and for how long it stays so.

    None: until another pattern.
    """
    steps = PATTERNS[pattern]
    if not all(steps):
        return steps[0] > 0, None
    left_s = shown_s % sum(steps)
    for i, step_s in enumerate(steps):
        if left_s < step_s - _ROUNDING_S:
            return i % 2 == 0, step_s - left_s
        left_s = max(left_s - step_s, 0.0)
    return True, steps[0]  # the end is the start


class Led:
    """A light that shows nothing: the configuration's `none`."""

    def show(self, pattern: Pattern) -> None:
        """Show this pattern from now on; the same one again changes nothing."""


class _GpioLed(Led):
    def __init__(self, device: Any, pin: int, monotonic_s: Callable[[], float]) -> None:
        self._device, self._pin, self._monotonic_s = device, pin, monotonic_s
        self._changed = threading.Condition()
        self._pattern: Pattern = "off"
        self._since_s = monotonic_s()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="led", daemon=True)

    def show(self, pattern: Pattern) -> None:
        with self._changed:
            if pattern != self._pattern:
                self._pattern, self._since_s = pattern, self._monotonic_s()
                self._changed.notify_all()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            _log.error("the light's thread does not stop")
        with suppress(GpioError):
            self._set(False)

    def _run(self) -> None:
        try:
            with self._changed:
                while not self._stopped:
                    on, wait_s = light(self._pattern, self._monotonic_s() - self._since_s)
                    self._set(on)
                    self._changed.wait(wait_s)
        except GpioError as error:
            _log.error("the light has failed: %s", error)

    def _set(self, on: bool) -> None:
        with pin_errors("led", self._pin):
            self._device.value = on


@contextmanager
def open_led(
    config: LedConfig, *, monotonic_s: Callable[[], float] = time.monotonic
) -> Iterator[Led]:
    """The configured light, dark until it is told something; dark again at the end.

    Raises GpioError.
    """
    if config.kind == "none":
        yield Led()
        return
    with pin_errors("led", config.pin):
        from gpiozero import DigitalOutputDevice

        device = DigitalOutputDevice(config.pin, pin_factory=pin_factory())
    with closing(device):
        led = _GpioLed(device, config.pin, monotonic_s)
        led.start()
        try:
            yield led
        finally:
            led.stop()
