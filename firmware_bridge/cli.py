"""The command `stillpi imu`: look at the motion sensor, set it up, record it, decode captures.

Everything heavy is imported by the command that needs it. Expected errors are raised as
BridgeError or OSError; whoever calls turns them into one line and exit code 2.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

DEFAULT_PORT = "/dev/imu"

_DESCRIPTION = """\
The WT901 motion sensor: see that it is alive, set it up once, record it, decode recordings.

A new sensor must be provisioned before it is of use: as sold it sends 10 samples a second,
heavily smoothed, and says exactly zero when it lies still."""

_EXAMPLES = """\
examples:
  stillpi imu watch                        the sensor at /dev/imu, baud found automatically
  stillpi imu watch --emulate              no sensor at hand: an emulated one
  stillpi imu provision --port /dev/ttyUSB0
  stillpi imu record --duration 10 -o imu.gcsv
  stillpi imu decode capture.bin --json"""


def add_imu_parser(subparsers: Any) -> None:
    """Add `imu` with its subcommands; each sets `run`, a function of the arguments."""
    parser = subparsers.add_parser(
        "imu",
        help="the WT901 motion sensor: watch, provision, record, decode",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_commands(parser.add_subparsers(title="commands", metavar="COMMAND", required=True))


def add_commands(commands: Any) -> None:
    """Add watch, provision, record and decode to a subparsers object."""
    _add_watch(commands)
    _add_provision(commands)
    _add_record(commands)
    _add_decode(commands)


def _add_watch(commands: Any) -> None:
    parser = commands.add_parser(
        "watch",
        help="show live what the sensor measures and how well it is connected",
        description="Show live what the sensor measures and how well it is connected. "
        "Ctrl-C ends it. What the numbers should be is explained below them.",
    )
    _add_source(parser)
    parser.add_argument("--duration", type=_seconds, metavar="S", help="end after so many seconds")
    parser.set_defaults(run=_watch)


def _add_provision(commands: Any) -> None:
    parser = commands.add_parser(
        "provision",
        help="set a sensor up for the camera and check that it took the settings",
        description="Set a sensor up for the camera: 200 samples a second with time stamps, least "
        "smoothing, no zeroing at rest. Saves the settings in the sensor, restarts it, reads them "
        "back and measures the rate. Needed once; the sensor keeps its settings.",
    )
    _add_source(parser)
    parser.add_argument(
        "--rate", type=float, default=200.0, metavar="HZ", help="samples a second (default: 200)"
    )
    parser.add_argument(
        "--new-baud",
        type=int,
        default=115200,
        metavar="BAUD",
        help="baud to set: 115200 (default), 230400, 460800 or 921600",
    )
    parser.add_argument(
        "--bandwidth",
        type=int,
        default=256,
        choices=(256, 188, 98, 42, 20, 10, 5),
        metavar="HZ",
        help="the sensor's low-pass: 256 (default), 188, 98, 42, 20, 10 or 5; lower is smoother "
        "and later",
    )
    parser.set_defaults(run=_provision)


def _add_record(commands: Any) -> None:
    parser = commands.add_parser(
        "record",
        help="record the sensor to an imu.gcsv log",
        description="Record the sensor to a GCSV log, as Gyroflow reads it; times are those of the "
        "host's monotonic clock. Ctrl-C ends the recording and keeps it.",
    )
    _add_source(parser)
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("imu.gcsv"), help="default: imu.gcsv"
    )
    parser.add_argument(
        "--duration", type=_seconds, metavar="S", help="seconds to record (default: until Ctrl-C)"
    )
    parser.add_argument(
        "--raw", type=Path, metavar="FILE", help="also keep the bytes as the sensor sent them"
    )
    parser.set_defaults(run=_record)


def _add_decode(commands: Any) -> None:
    parser = commands.add_parser(
        "decode",
        help="turn recorded bytes of a WT901 into an imu.gcsv log",
        description="Turn recorded bytes of a WT901 into a GCSV log. FILE is binary, hex text, or "
        'jsonl with {"t": arrival seconds, "hex": "..."}; which model sent it is found out.',
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the recorded bytes")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("imu.gcsv"), help="default: imu.gcsv"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the numbers as one JSON object: frames per type, bad checksums, skipped bytes, "
        "duration, rate, variant",
    )
    parser.set_defaults(run=_decode)


def _add_source(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("which sensor")
    source = group.add_mutually_exclusive_group()
    source.add_argument(
        "--port", default=DEFAULT_PORT, help=f"serial port (default: {DEFAULT_PORT})"
    )
    source.add_argument(
        "--i2c", type=_bus, metavar="BUS[:ADDRESS]", help="I2C bus instead, such as 1 or 1:0x50"
    )
    source.add_argument(
        "--emulate", action="store_true", help="an emulated sensor in a gently shaking hand"
    )
    group.add_argument(
        "--baud", type=_baud, default=None, metavar="BAUD", help="of the port now (default: auto)"
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"found {text}, expected seconds, more than 0")
    return seconds


def _baud(text: str) -> int | None:
    if text == "auto":
        return None
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"found {text}, expected auto or 9600 to 921600") from None


def _bus(text: str) -> tuple[int, int]:
    number, _, address = text.partition(":")
    try:
        return int(number), int(address or "0x50", 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"found {text}, expected such as 1 or 1:0x50") from None


def _watch(args: argparse.Namespace) -> int:
    from firmware_bridge import live_commands

    return live_commands.watch(args)


def _provision(args: argparse.Namespace) -> int:
    from firmware_bridge import live_commands

    return live_commands.provision(args)


def _record(args: argparse.Namespace) -> int:
    from firmware_bridge import live_commands

    return live_commands.record(args)


def _decode(args: argparse.Namespace) -> int:
    import json

    from firmware_bridge.decode import decode_capture
    from firmware_bridge.gcsv import write_gcsv

    decoded = decode_capture(args.file)
    write_gcsv(args.output, decoded.samples, note=f"decoded from {args.file.name}")
    summary = {**decoded.summary(), "output": str(args.output)}
    if args.json:
        print(json.dumps(summary))
        return 0
    frames = ", ".join(f"{count} x 0x{kind:02X}" for kind, count in sorted(decoded.frames.items()))
    print(f"{args.file}: {decoded.kind} capture, variant {decoded.variant}, {frames}")
    print(
        f"{len(decoded.samples)} samples, {decoded.duration_s:.3f} s at {decoded.rate_hz:.2f} Hz "
        f"by the {decoded.clock} clock, {decoded.lost_samples} lost; "
        f"{decoded.bad_checksums} bad checksums, {decoded.skipped_bytes} bytes skipped"
    )
    print(f"written: {args.output}")
    return 0
