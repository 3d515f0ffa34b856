"""The `stillpi` command: finds the subcommand, turns expected errors into one line.

Exit codes: 0 done, 2 bad input or a device that does not answer (one line on standard error),
130 interrupted. Anything else that goes wrong is a bug and shows its traceback.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from device.commands import (
    bench,
    check,
    config,
    deblur,
    deliver,
    demo,
    import_,
    inspect,
    reprocess,
    run,
    shoot,
    status,
    trigger,
)
from device.commands.restoring import one_line
from device.errors import StillpiError
from device.memory import use_one_arena
from device.version import software_name
from firmware_bridge.cli import add_imu_parser
from firmware_bridge.errors import BridgeError

_DESCRIPTION = """\
Sharp photographs from a shaking hand. A gyroscope records how the camera moved while the
shutter was open; stillpi computes the path along which every part of the picture was smeared,
and undoes it. Every photograph is kept as a bundle, a folder NAME.capture with the untouched
picture and the motion log, so it can be restored again at any time."""

_EXAMPLES = """\
examples:
  stillpi demo                                see it work, without a camera or a sensor
  stillpi shoot -c stillpi.yaml               take a photograph and restore it
  stillpi deblur IMG_1.capture -o IMG_1.jpg   restore a photograph
  stillpi deblur *.capture -o restored/       restore many
  stillpi inspect IMG_1.capture -o IMG_1.html see how the camera moved and what was done
  stillpi check IMG_1.capture                 is this bundle complete and sound?
  stillpi imu watch                           is the motion sensor alive?
  stillpi config check                        is the configuration right?
  stillpi run                                 the service: button, camera, delivery
  stillpi status                              how is the running service doing?

`stillpi COMMAND --help` explains a command."""

EXIT_BAD_INPUT, EXIT_INTERRUPTED = 2, 130


def build_parser() -> argparse.ArgumentParser:
    """The parser with every subcommand; light: nothing heavy is imported until one runs."""
    parser = argparse.ArgumentParser(
        prog="stillpi",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=software_name())
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (deblur, shoot, inspect, check, import_):
        command.add_parser(commands)
    add_imu_parser(commands)
    for command in (run, trigger, status, deliver, reprocess, config, demo, bench):
        command.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    use_one_arena()
    arguments = build_parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe (head, less) left: nothing more to say, and nothing to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BAD_INPUT
    except StillpiError as error:
        for line in error.lines():
            print(f"stillpi: {line}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except (BridgeError, OSError) as error:
        print(f"stillpi: {one_line(error)}", file=sys.stderr)
        return EXIT_BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
