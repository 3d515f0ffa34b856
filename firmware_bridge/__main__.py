"""`python -m firmware_bridge watch` and so on: the `stillpi imu` commands by themselves."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from firmware_bridge.cli import add_commands
from firmware_bridge.errors import BridgeError

EXIT_BAD_INPUT, EXIT_INTERRUPTED = 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; expected errors are one line."""
    parser = argparse.ArgumentParser(
        prog="python -m firmware_bridge", description="The WT901 motion sensor."
    )
    add_commands(parser.add_subparsers(title="commands", metavar="COMMAND", required=True))
    arguments = parser.parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except (BridgeError, OSError) as error:
        print(f"firmware_bridge: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
