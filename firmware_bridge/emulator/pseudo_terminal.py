"""The emulated WT901 in real time behind a pseudo-terminal: any serial program can open it.

Failure policy: the thread dies of nothing a client does (closing, flooding, wrong baud). Bytes
nobody reads are dropped when the terminal's buffer is full, as on a real port. An error of the
motion function is a bug: it ends the thread with its traceback, and `close` raises for it.
"""

from __future__ import annotations

import contextlib
import os
import select
import termios
import threading
import time
import tty
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from firmware_bridge.emulator.wt901 import Wt901Emulator

_LONGEST_SLEEP_S = 0.5
_SLICE_NS = 50_000_000  # run at once, so that a machine that is behind can still be interrupted
_JOIN_S = 5.0
_BAUD_OF_SPEED = {
    getattr(termios, f"B{baud}"): baud
    for baud in (9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)
}


class PtyEmulator:
    """Runs an emulator behind a pseudo-terminal, as a context manager.

    link : a path for a symbolic link to the terminal, which stays the same over `unplug` and
        `plug`, as /dev/imu does; None to use the terminal's own name.
    checks_baud : turn bytes into noise while the client's baud is not the sensor's.
    monotonic_ns : the host's clock, also that of the motion.

    garbage : set it while the line is to carry nothing but noise.
    """

    def __init__(
        self,
        emulator: Wt901Emulator,
        *,
        link: Path | None = None,
        checks_baud: bool = True,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.emulator = emulator
        self._link, self._checks_baud, self._monotonic_ns = link, checks_baud, monotonic_ns
        self._noise = np.random.default_rng(0)
        self.garbage = False
        self._restart = threading.Event()
        self._reached_ns = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._master = self._slave = self._wake_r = self._wake_w = -1

    @property
    def port(self) -> str:
        """What a client opens."""
        return str(self._link) if self._link is not None else os.ttyname(self._slave)

    @property
    def plugged(self) -> bool:
        """Whether the terminal exists."""
        return self._thread is not None

    def __enter__(self) -> Self:
        """Plug in."""
        self.plug()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Unplug for good."""
        self.close()

    def plug(self) -> None:
        """Make the terminal and power the sensor on."""
        if self._thread is not None:
            return
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self._wake_r, self._wake_w = os.pipe()
        if self._link is not None:
            self._link.unlink(missing_ok=True)
            self._link.symlink_to(os.ttyname(self._slave))
        self._reached_ns = self._monotonic_ns()
        self.emulator.power_on(self._reached_ns)
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="wt901-emulator", daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        """Take the terminal away under the client's hands, as pulling the USB plug does.

        Raises RuntimeError when the thread had died, or does not end.
        """
        if self._thread is None:
            return
        died = not self._thread.is_alive()
        self._stop.set()
        os.write(self._wake_w, b"x")
        self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            raise RuntimeError("the emulator's thread does not end: the motion function blocks")
        self._thread = None
        if self._link is not None:
            self._link.unlink(missing_ok=True)
        for descriptor in (self._master, self._slave, self._wake_r, self._wake_w):
            os.close(descriptor)
        if died:
            raise RuntimeError("the emulator's thread died; its traceback is above")

    def restart(self) -> None:
        """Let the sensor restart, as after a brown-out: its clock jumps, the line stays."""
        self._restart.set()

    def close(self) -> None:
        """Unplug. Twice is fine."""
        self.unplug()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._step()

    def _step(self) -> None:
        """Deliver what is due, then sleep until the next event or command."""
        if self._restart.is_set():
            self._restart.clear()
            self.emulator.power_on(self._reached_ns)
        now_ns = self._monotonic_ns()
        self._reached_ns = min(now_ns, self._reached_ns + _SLICE_NS)
        for _, data in self.emulator.arrived_until(self._reached_ns):
            self._deliver(data)
        next_ns = self.emulator.next_event_ns
        sleep_s = _LONGEST_SLEEP_S if self._reached_ns == now_ns else 0.0
        if next_ns is not None:
            sleep_s = min(max((next_ns - self._monotonic_ns()) / 1e9, 0.0), sleep_s)
        ready, _, _ = select.select([self._master, self._wake_r], [], [], sleep_s)
        if self._master in ready:
            self._take_commands()

    def _deliver(self, data: bytes) -> None:
        host_baud = self._host_baud()
        if host_baud != self.emulator.baud:
            count = max(round(len(data) * host_baud / self.emulator.baud), 1)
            data = self._noise.bytes(count)
        if self.garbage:
            data = self._noise.bytes(len(data))
        with contextlib.suppress(BlockingIOError):
            os.write(self._master, data)

    def _take_commands(self) -> None:
        data = os.read(self._master, 4096)
        if self._host_baud() == self.emulator.baud:
            self.emulator.receive(data, self._reached_ns)

    def _host_baud(self) -> int:
        """The baud the client has set; the master of a pseudo-terminal shows its slave's."""
        if not self._checks_baud:
            return self.emulator.baud
        speed = termios.tcgetattr(self._master)[5]
        return _BAUD_OF_SPEED.get(speed, 0)
