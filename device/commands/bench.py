"""`stillpi bench`: how fast and how small this machine runs the program, measured, as a table."""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from device.commands.restoring import add_restore_options, available_threads, model_folder

if TYPE_CHECKING:
    from device.benchmark import Row, Setting


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `bench` to the program's commands."""
    parser = subparsers.add_parser(
        "bench",
        help="measure speed and memory on this machine",
        description="Measure speed and memory on this machine: restoring 12-megapixel photographs "
        "(4056x3040, as a whole program in a process of its own), the network beside those of "
        "other systems on the same tiles, the kernel field, the sensor's decoder and reader. "
        "Takes a minute or two, on a Raspberry Pi several.",
    )
    add_restore_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the table."""
    from device.benchmark import Setting

    threads = arguments.threads or available_threads()
    rows = []
    with tempfile.TemporaryDirectory(prefix="stillpi-bench-") as folder:
        setting = Setting(Path(folder), threads, model_folder(arguments.model))
        for row in _measure(setting):
            rows.append(row)
            if not arguments.json:
                print(f"{row.name:<52} {row.value:>10.3f} {row.unit:<8} {row.note}", flush=True)
    if arguments.json:
        machine = {"machine": platform.machine(), "python": platform.python_version()}
        print(json.dumps({**machine, "threads": threads, "rows": [row.to_json() for row in rows]}))
    return 0


def _measure(setting: Setting) -> Iterator[Row]:
    from device.benchmark.driver import measure_driver
    from device.benchmark.network_speed import measure_networks, measure_ratios
    from device.benchmark.restoration import measure_field, measure_restoration

    rows: list[Row] = []
    for measure in (measure_restoration, measure_networks):
        for row in measure(setting):
            rows.append(row)
            yield row
    yield from measure_ratios(rows)
    yield from measure_field(setting)
    yield from measure_driver(setting)
