"""The service from start to stop: the disk is put in order, the parts run, a loop watches them.

Failure policy
- Each part handles what it expects (its own docstring says how) and goes on. A part that ends or
  hangs is a bug: the service says so and ends with exit code 1; systemd starts it again, and the
  journal makes that harmless. The watchdog's sign of life comes from this loop, and only while
  every part is well, so a loop that hangs is ended by systemd too.
- SIGTERM ends everything in order: the photograph that is being taken is finished, presses that
  wait are refused, the running restoration is due again at the next start.
"""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack

from device.config import Config
from device.service import status
from device.service.journal import Journal, JournalError
from device.service.led import Led, Pattern, open_led
from device.service.names import Folders
from device.service.parts import Parts, Surroundings
from device.service.reconcile import only_one, reconcile
from device.service.shutter import Shutter, ShutterError, open_shutter

_log = logging.getLogger(__name__)

EXIT_STOPPED, EXIT_FAILED = 0, 1
LOOP_S = 1.0
BACKLOG = 2
"""So many restorations waiting show as a backlog."""


class Daemon:
    """Everything that runs between start and stop."""

    def __init__(self, config: Config, folders: Folders, around: Surroundings) -> None:
        self._config, self._folders, self._around = config, folders, around
        self._stop, self._wake = threading.Event(), threading.Event()

    def stop(self) -> None:
        """End the service."""
        self._stop.set()
        self._wake.set()

    def run(self) -> int:
        """Run until stopped or until a part fails; the exit code.

        Raises StillpiError, OSError when it cannot start.
        """
        self._folders.state.mkdir(parents=True, exist_ok=True)
        self._folders.make()
        with ExitStack() as stack:
            stack.enter_context(only_one(self._folders))
            journal = Journal(self._folders.journal, clock=self._around.clock)
            stack.enter_context(journal)
            reconcile(journal, self._folders)
            led = stack.enter_context(open_led(self._config.led))
            led.show("busy")
            parts = Parts(self._config, self._folders, self._around, journal, self._wake.set)
            stack.callback(parts.close)
            stack.callback(self._around.notifier.stopping)
            parts.start()
            shutter = stack.enter_context(open_shutter(self._config.shutter, parts.press))
            return self._loop(parts, led, shutter)

    def _loop(self, parts: Parts, led: Led, shutter: Shutter) -> int:
        notifier, told, is_ready = self._around.notifier, "", False
        while not self._stop.is_set():
            self._wake.clear()
            failed = _failed(parts, shutter)
            if failed is not None:
                _log.critical("%s: the service ends, to be started again", failed)
                led.show("error")
                return EXIT_FAILED
            pattern, line = _looks(parts)
            led.show(pattern)
            if line != told:
                notifier.status(line)
                told = line
            if not is_ready and parts.photographer.doing != "opening":
                notifier.ready()
                is_ready = True
            notifier.watchdog()
            if not self._stop.is_set():
                self._wake.wait(LOOP_S)
        _log.info("stopping")
        return EXIT_STOPPED


def _failed(parts: Parts, shutter: Shutter) -> str | None:
    """What has ended or hangs."""
    try:
        shutter.check()
    except ShutterError as error:
        return str(error)
    part = parts.failed()
    return None if part is None else f"{part} has ended or hangs"


def _looks(parts: Parts) -> tuple[Pattern, str]:
    """The light's pattern and the line for systemd."""
    try:
        now = parts.status()
    except JournalError as error:
        return "error", str(error)
    line = status.headline(now)
    if now["camera"] in ("taking", "opening"):
        return "busy", line
    if now["refuses"] is not None:
        return "refusing", line
    if any(now[key] is not None for key in ("trouble", "last_failure", "delivery_needs")):
        return "error", line
    return "backlog" if now["queue"]["restore"] >= BACKLOG else "ready", line
