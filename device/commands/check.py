"""`stillpi check`: will a capture bundle give a good restoration, does a network run here?"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from device.errors import InputError, ModelError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `check` to the command line."""
    parser = subparsers.add_parser(
        "check",
        help="check capture bundles: complete, consistent, covered by their motion log; or a model",
        description="Check capture bundles, pixels included. One line each: OK, a warning, or the"
        " error with file, field, what was found and what was expected. With --model, check that"
        " a network's bundle is whole and computes on this machine what it should."
        " Exit code 2 when anything has an error.",
    )
    parser.add_argument("bundles", nargs="*", type=Path, metavar="BUNDLE", help="NAME.capture")
    parser.add_argument(
        "--model", type=Path, metavar="FOLDER", help="the bundle of a network, for its self-test"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check every bundle, also after one with an error."""
    from device.bundle import check_bundle

    if not args.bundles and args.model is None:
        raise InputError("check", "BUNDLE", "nothing", "a bundle, or --model FOLDER")
    code = _check_model(args.model) if args.model is not None else 0
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


def _check_model(folder: Path) -> int:
    from device.commands.restoring import one_line
    from device.restore.golden import self_test

    try:
        test = self_test(folder)
    except ModelError as error:
        print(f"stillpi: {one_line(error)}", file=sys.stderr)
        return 2
    print(f"{folder}: OK, {test}")
    return 0
