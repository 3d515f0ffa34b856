"""The `stillpi imu` commands that talk to a sensor."""

from __future__ import annotations

import argparse
import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from firmware_bridge.emulator import PtyEmulator, Wt901Emulator, hand_shake
from firmware_bridge.errors import LinkError, ProvisionError
from firmware_bridge.gcsv import write_gcsv
from firmware_bridge.link import OpenLink, TeeLink
from firmware_bridge.openers import I2cOpener, Opener, SerialOpener
from firmware_bridge.provision import (
    Provisioner,
    ProvisionPlan,
    ProvisionReport,
    baud_setting,
    rate_setting,
    register_name,
)
from firmware_bridge.reader import ImuReader
from firmware_bridge.recording import Recorder, wait_for_sensor
from firmware_bridge.registers import Bandwidth
from firmware_bridge.samples import ImuSamples
from firmware_bridge.watching import state, status_line, verdicts
from firmware_bridge.whole_file import whole_file

_SHOWN_NS = 100_000_000  # the mean of so much is shown
_REDRAW_S = 0.1
_NEXT_LINE_S = 1.0


def watch(args: argparse.Namespace) -> int:
    """Show the sensor live."""
    console = Console(highlight=False)
    with _source(args) as opener, ImuReader(opener) as reader:
        wait_for_sensor(reader)
        with _stop_on_interrupt() as stop:
            if console.is_terminal:
                with Live(console=console, auto_refresh=False, transient=True) as live:
                    for _ in _ticks(args.duration, _REDRAW_S, stop):
                        stats = reader.stats()
                        line = status_line(stats, _latest(reader))
                        live.update(Text(f"{line}\n{state(stats)}"), refresh=True)
            else:
                for _ in _ticks(args.duration, _NEXT_LINE_S, stop):
                    console.print(status_line(reader.stats(), _latest(reader)), soft_wrap=True)
        stats = reader.stats()
        console.print(status_line(stats, _latest(reader)), soft_wrap=True)
        for line in verdicts(stats):
            console.print(line, soft_wrap=True)
    return 0


def record(args: argparse.Namespace) -> int:
    """Record the sensor to a log."""
    with (
        _source(args) as opener,
        _raw_file(args.raw) as raw,
        ImuReader(_copying(opener, raw)) as reader,
    ):
        wait_for_sensor(reader)
        with _stop_on_interrupt() as stop, _progress() as progress:
            bar = progress.add_task("recording", total=args.duration)
            samples = Recorder(reader, stop).run(
                args.duration, lambda elapsed_s: progress.update(bar, completed=elapsed_s)
            )
        stats = reader.stats()
        if not len(samples):
            raise LinkError(stats.last_error or "the sensor stopped before a sample was recorded")
    write_gcsv(args.output, samples, note="recorded live, times are CLOCK_MONOTONIC")
    span_s = (samples.t_ns[-1] - samples.t_ns[0]) / 1e9
    print(
        f"{len(samples)} samples in {span_s:.2f} s, {stats.rate_hz:.1f} Hz, {stats.losses} lost, "
        f"clock known to {stats.clock_uncertainty_s * 1000:.1f} ms; written: {args.output}"
    )
    return 0


def provision(args: argparse.Namespace) -> int:
    """Set a sensor up. Raises ProvisionError when it is not as planned afterwards."""
    plan = ProvisionPlan(
        rate=rate_setting(args.rate),
        baud=baud_setting(args.new_baud),
        bandwidth=next(b for b in Bandwidth if b.hz == args.bandwidth),
    )
    console = Console(highlight=False)
    with _source(args, as_sold=True) as opener:
        with console.status("looking for the sensor"):
            baud = opener.baud()
        with console.status("writing, saving, restarting, reading back"):
            report = Provisioner(opener.at).apply(plan, baud)
    console.print(_table(report))
    if not report.ok:
        raise ProvisionError("; ".join(report.problems()))
    console.print(f"The sensor is set up: {report.rate_hz:.1f} Hz at {args.new_baud} baud.")
    return 0


@contextlib.contextmanager
def _source(args: argparse.Namespace, *, as_sold: bool = False) -> Iterator[Opener]:
    """The sensor that the options name; an emulated one lives as long as the context."""
    if args.i2c is not None:
        yield I2cOpener(*args.i2c)
    elif args.emulate:
        settings = None if as_sold else ProvisionPlan().settings
        with PtyEmulator(Wt901Emulator(hand_shake(), registers=settings)) as emulated:
            yield SerialOpener(emulated.port)
    else:
        yield SerialOpener(args.port, args.baud)


@contextlib.contextmanager
def _stop_on_interrupt() -> Iterator[threading.Event]:
    """Ctrl-C sets the event instead of tearing through what is being written."""
    stop = threading.Event()

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _ticks(duration_s: float | None, every_s: float, stop: threading.Event) -> Iterator[float]:
    """Elapsed seconds, every so often, until the duration is over or the stop comes."""
    start_s = time.monotonic()
    while True:
        elapsed_s = time.monotonic() - start_s
        left_s = float("inf") if duration_s is None else duration_s - elapsed_s
        if stop.wait(max(min(every_s, left_s), 0.0)) or left_s <= every_s:
            return
        yield time.monotonic() - start_s


def _latest(reader: ImuReader) -> ImuSamples:
    now_ns = time.monotonic_ns()
    return reader.samples_between(now_ns - _SHOWN_NS, now_ns)


def _copying(opener: Opener, raw: BinaryIO | None) -> OpenLink:
    if raw is None:
        return opener
    return lambda: TeeLink(opener(), raw)


@contextlib.contextmanager
def _raw_file(path: Path | None) -> Iterator[BinaryIO | None]:
    """A file for the raw bytes that appears under its name when all went well."""
    if path is None:
        yield None
        return
    with whole_file(path) as file:
        yield file


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f} s"))
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _table(report: ProvisionReport) -> Table:
    table = Table("register", "before", "wanted", "after")
    for register, wanted in report.wanted.items():
        values = (report.before[register], wanted, report.after[register])
        shown = ["no answer" if value is None else f"0x{value:04X}" for value in values]
        table.add_row(register_name(register), *shown)
    return table
