"""`stillpi check`: is a capture bundle whole, and will it give a good restoration?"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from device.errors import InputError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `check` to the command line."""
    parser = subparsers.add_parser(
        "check",
        help="check capture bundles: complete, consistent, covered by their motion log",
        description="Check capture bundles, pixels included. One line each: OK, a warning, or the"
        " error with file, field, what was found and what was expected."
        " Exit code 2 when any bundle has an error.",
    )
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE", help="NAME.capture")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check every bundle, also after one with an error."""
    from device.bundle import check_bundle

    code = 0
    for bundle in args.bundles:
        try:
            warnings = check_bundle(bundle)
        except InputError as error:
            print(f"stillpi: {error}", file=sys.stderr)
            code = 2
            continue
        for warning in warnings:
            print(f"{bundle}: warning: {warning}")
        if not warnings:
            print(f"{bundle}: OK")
    return code
