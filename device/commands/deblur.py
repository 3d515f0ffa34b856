"""`stillpi deblur`: bundles to sharp photographs, each with its report beside it.

Failure policy: a bundle that cannot be restored costs one line on standard error and the exit
code; the others are done. A photograph and its report are each written whole or not at all. The
bundle is never changed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from device.commands.restoring import (
    add_restore_options,
    model_for_photographs,
    one_line,
    positive_int,
    progress_bar,
    restore_to_file,
    summary,
)
from device.errors import InputError, StillpiError
from firmware_bridge.errors import BridgeError

_EXAMPLES = """\
examples:
  stillpi deblur IMG_1.capture -o IMG_1.jpg      one photograph, and IMG_1.json beside it
  stillpi deblur IMG_1.capture -o IMG_1.png      the same without JPEG's losses
  stillpi deblur shots/*.capture -o restored/    many: restored/NAME.jpg and NAME.json

Rows, columns and the view stay where they were: the result lies on the photograph's own pixels.
Where the measured motion does not explain the blur, the photograph is kept as it was."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `deblur` to the program's commands."""
    parser = subparsers.add_parser(
        "deblur",
        help="restore photographs from their bundles",
        description="Restore photographs from their capture bundles (folders NAME.capture).",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "bundles", nargs="+", type=Path, metavar="BUNDLE", help="a folder NAME.capture"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="OUT",
        help="a name ending in .jpg or .png for one bundle, a folder for many",
    )
    add_restore_options(parser)
    parser.add_argument(
        "--reproducible",
        action="store_true",
        help="the same picture on every kind of processor, for those who must show how it was "
        "made; takes about a fifth longer",
    )
    parser.add_argument(
        "--quality", type=_quality, default=95, metavar="1..100", help="of the JPEG (default: 95)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print the reports as one JSON object, nothing else"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Restore every bundle; 2 if any of them could not be."""
    jobs = plan_jobs(arguments.bundles, arguments.output)
    chosen = model_for_photographs(arguments.model, fastest=not arguments.reproducible)
    results: list[dict[str, Any]] = []
    failed = False
    for bundle, target in jobs:
        try:
            refuse_second(bundle, target, jobs)
            with progress_bar(bundle.name) as progress:
                report = restore_to_file(
                    bundle,
                    target,
                    chosen=chosen,
                    threads=arguments.threads,
                    reproducible=arguments.reproducible,
                    quality=arguments.quality,
                    progress=progress,
                )
        except (StillpiError, BridgeError, OSError) as error:
            failed = True
            results.append({"bundle": str(bundle), "error": one_line(error)})
            print(f"stillpi: {one_line(error)}", file=sys.stderr)
            continue
        results.append(report)
        if not arguments.json:
            print(f"{target}: {summary(report)}", flush=True)
    if arguments.json:
        print(json.dumps({"results": results}, ensure_ascii=False))
    return 2 if failed else 0


def plan_jobs(bundles: list[Path], output: Path) -> list[tuple[Path, Path]]:
    """Each bundle with the photograph it becomes.

    One bundle becomes the file `output` names; with several bundles, or when `output` is a folder
    or has no suffix, NAME.capture becomes NAME.jpg in that folder.
    Raises InputError when the name fits neither.
    """
    from device.output import PHOTO_SUFFIXES, check_photo_name

    one_file = len(bundles) == 1 and bool(output.suffix) and not output.is_dir()
    if one_file:
        check_photo_name(output)
        return [(bundles[0], output)]
    if output.suffix.lower() in PHOTO_SUFFIXES and not output.is_dir():
        raise InputError(output, "output", f"a file name for {len(bundles)} bundles", "a folder")
    return [(bundle, output / f"{bundle_name(bundle)}.jpg") for bundle in bundles]


def bundle_name(bundle: Path) -> str:
    """NAME of a folder NAME.capture; the whole name of any other folder."""
    return bundle.resolve().name.removesuffix(".capture")


def refuse_second(bundle: Path, target: Path, jobs: list[tuple[Path, Path]]) -> None:
    """Raise InputError when an earlier, different bundle already becomes this photograph."""
    first = next(other for other, photo in jobs if photo == target)
    if first != bundle:
        raise InputError(target, "output", f"the name of {first} as well", "one photograph each")


def _quality(text: str) -> int:
    quality = positive_int(text)
    if quality > 100:
        raise argparse.ArgumentTypeError(f"{quality} is more than 100")
    return quality
