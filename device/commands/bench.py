"""`stillpi bench`: how fast and how small this machine runs the program, measured, as a table."""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from pathlib import Path

from device.commands.restoring import available_threads, positive_int


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `bench` to the program's commands."""
    parser = subparsers.add_parser(
        "bench",
        help="measure speed and memory on this machine",
        description="Measure speed and memory on this machine: restoring 12-megapixel photographs "
        "(4056x3040, as a whole program in a process of its own), the kernel field, the sensor's "
        "decoder and reader. Takes about a minute.",
    )
    parser.add_argument("--threads", type=positive_int, metavar="N", help="default: all")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the table."""
    from device import benchmark

    threads = arguments.threads or available_threads()
    rows = []
    with tempfile.TemporaryDirectory(prefix="stillpi-bench-") as folder:
        for measure in benchmark.MEASUREMENTS:
            for row in measure(Path(folder), threads):
                rows.append(row)
                if not arguments.json:
                    print(f"{row.name:<52} {row.value:>10.3f} {row.unit:<8} {row.note}", flush=True)
    if arguments.json:
        machine = {"machine": platform.machine(), "python": platform.python_version()}
        print(json.dumps({**machine, "threads": threads, "rows": [row.to_json() for row in rows]}))
    return 0
