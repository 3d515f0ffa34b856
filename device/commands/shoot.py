"""`stillpi shoot`: one photograph through the configured camera and motion sensor.

Failure policy: the bundle is on the disk, and its place is printed, before anything is restored.
A photograph without usable motion is written as it was taken, and its report says why. Whatever
fails after the bundle was written costs the restored photograph only: `stillpi deblur` can be
run on the bundle at any time.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device.commands.restoring import model_for_photographs, progress_bar, restore_to_file, summary
from device.errors import InputError
from device.notices import Notice
from device.version import software_name

if TYPE_CHECKING:
    from device.config import Config

_EXAMPLES = """\
examples:
  stillpi shoot                          with /etc/stillpi/stillpi.yaml
  stillpi shoot -c my.yaml -o shots/     with another configuration, into another folder
  stillpi shoot --simulate -o cat.jpg    simulated camera and sensor: cat.capture and cat.jpg

A configuration to start from, every key explained: deploy/config.example.yaml"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `shoot` to the program's commands."""
    parser = subparsers.add_parser(
        "shoot",
        help="take a photograph and restore it",
        description="Take one photograph through the configured camera and motion sensor: the "
        "untouched original with its motion log as a bundle (NAME.capture), the restored "
        "photograph (NAME.jpg) and its report (NAME.json).",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="configuration to use")
    parser.add_argument(
        "--simulate",
        action="store_true",
        help="use the simulated camera in a simulated hand, with the emulated WT901",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="the folder for photographs, or a name ending in .jpg or .png "
        "(default: the configuration's folder, and names IMG_0001, IMG_0002, ...)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the report as one JSON object, nothing else"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Take the photograph; 2 when there is none, or when the configuration is wrong."""
    from device.config_errors import ConfigError

    try:
        config = _config(arguments)
    except ConfigError as error:
        for problem in error.problems:
            print(f"stillpi: {problem}", file=sys.stderr)
        return 2
    bundle, target = plan_names(config, arguments.output)
    notices = _take(config, bundle)
    if not arguments.json:
        print(f"{bundle}: taken{_listed(notices)}", flush=True)
    report = restore_or_keep(config, bundle, target)
    if arguments.json:
        print(json.dumps(report, ensure_ascii=False))
    else:
        note = f", {report['model_note']}" if report["model_note"] else ""
        print(f"{target}: {summary(report)}{note}")
    return 0


def _config(arguments: argparse.Namespace) -> Config:
    from device.config import default_config, load_config, simulated_config

    if arguments.simulate and arguments.config:
        raise InputError("--simulate", "options", "--config as well", "one of the two")
    if arguments.simulate:
        return simulated_config()
    return load_config(arguments.config) if arguments.config else default_config()


def plan_names(config: Config, output: Path | None) -> tuple[Path, Path]:
    """The bundle and the photograph to write.

    output : a folder, a name ending in .jpg or .png, or None for the configuration's folder.
    Raises InputError when the bundle of that name exists.
    """
    from device.output import PHOTO_SUFFIXES
    from device.photo import next_bundle

    if output is not None and output.suffix.lower() in PHOTO_SUFFIXES and not output.is_dir():
        bundle = output.with_suffix(".capture")
        if bundle.exists():
            raise InputError(bundle, "output", "a bundle of that name", "a free name")
        return bundle, output
    bundle = next_bundle(config.output.folder if output is None else output)
    return bundle, bundle.with_suffix(f".{config.output.format}")


def _take(config: Config, bundle: Path) -> tuple[Notice, ...]:
    from device.capture.open import open_rig
    from device.photo import take_photo

    bundle.parent.mkdir(parents=True, exist_ok=True)
    with open_rig(config) as rig:
        photo = take_photo(
            rig.camera,
            rig.log,
            bundle,
            live=rig.live,
            frame_format=config.output.bundle_format,
        )
    return photo.notices


def restore_or_keep(config: Config, bundle: Path, target: Path) -> dict[str, Any]:
    """Write the restored photograph, or the one taken where its motion is not known; the report.

    Raises ModelError for a model that does not fit, OSError when the files cannot be written.
    """
    from device.bundle import read_bundle

    taken = read_bundle(bundle)
    coverage = taken.imu_coverage()
    if not coverage.covers:
        return _keep(config, bundle, target, f"no motion to undo: {coverage.found()}")
    name, threads = str(config.restoration.model), config.restoration.threads
    try:
        with progress_bar(bundle.name) as progress:
            return restore_to_file(
                bundle,
                target,
                chosen=model_for_photographs(name),
                threads=threads,
                quality=config.output.quality,
                progress=progress,
            )
    except InputError as error:
        return _keep(config, bundle, target, str(error))


def _keep(config: Config, bundle: Path, target: Path, reason: str) -> dict[str, Any]:
    """Write the photograph as it was taken, and a report that says why."""
    from device.bundle import read_bundle
    from device.output import write_photo, write_report
    from device.restore.pipeline import unrestored

    taken = read_bundle(bundle)
    pixels, report = unrestored(taken, Notice("not-restored", reason))
    write_photo(target, pixels, exif_source=taken, quality=config.output.quality)
    written = report.to_json()
    written |= {"bundle": str(bundle), "output": str(target), "software": software_name()}
    write_report(target.with_suffix(".json"), written)
    return written


def _listed(notices: tuple[Notice, ...]) -> str:
    return "".join(f"\n  warning: {notice.name}: {notice.detail}" for notice in notices)
