"""`stillpi inspect`: one HTML page that shows what was recorded and what was done with it."""

from __future__ import annotations

import argparse
from pathlib import Path

from device.commands.restoring import (
    add_restore_options,
    model_for_photographs,
    options,
    progress_bar,
)
from device.errors import InputError

_EXAMPLES = """\
examples:
  stillpi inspect IMG_1.capture                        writes IMG_1.html
  stillpi inspect IMG_1.capture -o page.html --field field.png --psfs psfs.png

The page holds everything it shows: it opens without a network, and can be mailed."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `inspect` to the program's commands."""
    parser = subparsers.add_parser(
        "inspect",
        help="show a bundle and its restoration on one HTML page",
        description="Write one HTML page: the photograph and the restored one, the paths of the "
        "light over the photograph, point-spread functions, the gyroscope with the exposure "
        "marked, and the numbers.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a folder NAME.capture")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="PAGE.html", help="default: NAME.html, here"
    )
    parser.add_argument(
        "--field", type=Path, metavar="PNG", help="also write the paths over the photograph"
    )
    parser.add_argument("--psfs", type=Path, metavar="PNG", help="also write the sheet of PSFs")
    add_restore_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the page; a bundle that cannot be restored is shown as it is, with the reason."""
    from device.bundle import read_bundle
    from device.inspect_page import bundle_page, bundle_title, write_field_pictures
    from device.output import write_atomic
    from device.restore.pipeline import restore

    bundle = read_bundle(arguments.bundle)
    target = arguments.output or Path(f"{bundle_title(bundle)}.html")
    model = model_for_photographs(arguments.model).model
    restoration, problem = None, None
    with progress_bar(bundle.path.name) as progress:
        try:
            restoration = restore(
                bundle, model=model, options=options(arguments.threads), progress=progress
            )
        except InputError as error:
            problem = str(error)
    page = bundle_page(bundle, restoration, problem)
    write_field_pictures(bundle, restoration, arguments.field, arguments.psfs)
    write_atomic(target, page.encode())
    print(target)
    return 0
