"""What the live reader costs: processor time at 200 Hz, over a pseudo-terminal."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from firmware_bridge.errors import LinkError
from firmware_bridge.reader import ImuReader
from firmware_bridge.serial_link import SerialLink

WARM_UP_SAMPLES = 20
WARM_UP_S = 10.0


def reader_cpu_share(duration_s: float = 5.0) -> float:
    """Share of one core a reader needs for an emulated sensor at 200 Hz: 0.03 is 3 %.

    The emulator runs in a process of its own, so its work is not counted. Raises LinkError when
    no samples come.
    """
    with emulator_process() as port, ImuReader(lambda: SerialLink(port, 115200)) as reader:
        if not reader.wait_for_samples(WARM_UP_SAMPLES, WARM_UP_S):
            raise LinkError(f"{port}: the emulated sensor sent nothing")
        cpu_s, wall_s = time.process_time(), time.monotonic()
        time.sleep(duration_s)
        return (time.process_time() - cpu_s) / (time.monotonic() - wall_s)


@contextmanager
def emulator_process() -> Iterator[str]:
    """Port of an emulator that lives in another process."""
    command = [sys.executable, "-m", "firmware_bridge.emulator"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdin is None or process.stdout is None:  # pipes were asked for
            raise LinkError("the emulator has no pipes")
        yield process.stdout.readline().decode().strip()
        process.stdin.close()
