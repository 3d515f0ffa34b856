"""The sensor on a serial port, and finding out at which baud it talks.

pyserial opens and configures the port; reading goes through poll() and one read() of all that
has arrived, because pyserial's own read waits for a full buffer or the time-out.

Low latency: an FTDI adapter collects bytes for 16 ms by default. Asking the driver for low
latency sets its timer to 1 ms; adapters without that knob (CH340, CP210x) and pseudo-terminals
refuse, which is fine: the clock map only needs some samples to arrive early.

For the same reason a read rests for REST_S after the one before: being woken costs far more than
reading, and an adapter would wake the reader for every USB frame, three or four times a cycle.
The rest is shorter than FTDI's 16 ms, so that such a batch is still met when it arrives.
"""

from __future__ import annotations

import os
import select
import termios
import time
from collections.abc import Callable, Sequence

import serial

from firmware_bridge.commands import read_registers
from firmware_bridge.errors import LinkError
from firmware_bridge.link import Link
from firmware_bridge.parser import Parser
from firmware_bridge.registers import Register

_SYSTEM_ERRORS = (OSError, termios.error)  # pyserial's SerialException is an OSError
REST_S = 0.012  # no multiple of 5 ms, so that reads slide along the cycles
BITS_PER_BYTE = 10  # 8N1: a start bit, eight data bits, a stop bit
LIKELY_BAUDS = (115200, 9600, 230400, 921600, 460800, 57600, 38400, 19200)
"""In the order worth trying: provisioned or boxed, as sold, provisioned for more."""


class SerialLink:
    """One open serial port.

    port : device path. baud : bits a second. The port is locked: two readers would each get
    half of the bytes.
    Raises LinkError when the port cannot be opened.
    """

    def __init__(self, port: str, baud: int) -> None:
        self._port, self._baud = port, baud
        try:
            self._serial = serial.Serial(port, baud, timeout=0, write_timeout=1.0, exclusive=True)
        except (*_SYSTEM_ERRORS, ValueError) as problem:
            raise LinkError(f"{port}: cannot open the serial port: {_reason(problem)}") from problem
        self._fd = self._serial.fileno()
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        self._rest = False
        self.low_latency = self._ask_for_low_latency()

    @property
    def name(self) -> str:
        """Port and baud."""
        return f"{self._port} at {self._baud} baud"

    @property
    def byte_time_ns(self) -> float:
        """Time of one byte on the wire."""
        return BITS_PER_BYTE * 1e9 / self._baud

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        """Return what has arrived; empty after timeout_s. Raises LinkError when unplugged."""
        if not self._serial.is_open:
            raise LinkError(f"{self._port}: the port is closed")
        if self._rest:
            rest_s = min(REST_S, timeout_s)
            time.sleep(rest_s)
            timeout_s -= rest_s
        try:
            self._rest = bool(self._poll.poll(timeout_s * 1000))
            if not self._rest:
                return b""
            data = os.read(self._fd, max_bytes)
        except _SYSTEM_ERRORS as problem:
            raise LinkError(f"{self._port}: lost: {_reason(problem)}") from problem
        if not data:  # ready to read yet nothing to read: the device has gone
            raise LinkError(f"{self._port}: lost: the device has gone")
        return data

    def write(self, data: bytes) -> None:
        """Send bytes and wait until they have left. Raises LinkError when unplugged."""
        try:
            self._serial.write(data)
            self._serial.flush()
        except _SYSTEM_ERRORS as problem:
            raise LinkError(f"{self._port}: cannot send: {_reason(problem)}") from problem

    def close(self) -> None:
        """Close the port."""
        self._serial.close()

    def _ask_for_low_latency(self) -> bool:
        try:
            self._serial.set_low_latency_mode(True)
        except (OSError, ValueError, NotImplementedError):
            return False
        return True


def detect_baud(
    port: str,
    bauds: Sequence[int] = LIKELY_BAUDS,
    *,
    listen_s: float = 0.4,
    open_link: Callable[[str, int], Link] = SerialLink,
    monotonic: Callable[[], float] = time.monotonic,
) -> int:
    """Find the baud at which valid frames come in.

    At each candidate a register is asked for, so that a sensor which streams slowly or not at
    all answers too, and frames with a right checksum are counted for listen_s. Three of them
    without noise between, or two and the answer, decide; noise passes a checksum once in 256.
    Raises LinkError when no candidate fits.
    """
    for baud in bauds:
        link = open_link(port, baud)
        try:
            if _hears_frames(link, listen_s, monotonic):
                return baud
        finally:
            link.close()
    tried = ", ".join(str(baud) for baud in bauds)
    raise LinkError(f"{port}: no WT901 found, tried {tried} baud; is the sensor powered, TX to RX?")


def _hears_frames(link: Link, listen_s: float, monotonic: Callable[[], float]) -> bool:
    parser = Parser()
    link.write(read_registers(Register.RRATE))
    end_s = monotonic() + listen_s
    while (left_s := end_s - monotonic()) > 0:
        parser.feed(link.read(4096, left_s))
        stats = parser.stats
        good_bytes = 11 * stats.frame_count
        # A stream is joined in mid-frame: up to one frame of it is noise at the right baud too.
        if stats.frame_count >= 3 and good_bytes > 2 * max(stats.skipped_bytes - 11, 0):
            return True
    return parser.stats.frames.get(0x5F, 0) > 0 and parser.stats.skipped_bytes < 22


def _reason(problem: Exception) -> str:
    """The system's words without pyserial's repetition of the port."""
    if isinstance(problem, OSError) and problem.errno:
        return os.strerror(problem.errno)
    return str(problem) or type(problem).__name__
