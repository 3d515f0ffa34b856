"""`stillpi import`: recordings of others, made into capture bundles."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

FORMATS = {
    "deepgyro": "a DeepGyro burst: images/, imu/, calibration.json",
    "nexus": "the Galaxy Nexus chart: giro_data_image.jpg, giro_data.txt",
    "phone-video": "phone video: frames/RE_frame-N.jpg, gyro_dump.txt",
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `import` to the command line."""
    parser = subparsers.add_parser(
        "import",
        help="make capture bundles of other people's recordings",
        description="Make capture bundles of photographs that were recorded with a gyroscope."
        " The photographs are kept byte for byte. Formats: "
        + "; ".join(f"{name}: {what}" for name, what in FORMATS.items())
        + ".",
    )
    parser.add_argument("format", choices=FORMATS, help="what SRC is")
    parser.add_argument("src", type=Path, metavar="SRC", help="folder of the recording")
    parser.add_argument("dst", type=Path, metavar="DST", help="folder that gets the bundles")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Import one recording; prints the bundles made."""
    name = args.format.replace("-", "_")
    importer = getattr(import_module(f"device.importers.{name}"), f"import_{name}")
    for bundle in importer(args.src, args.dst):
        print(bundle)
    return 0
