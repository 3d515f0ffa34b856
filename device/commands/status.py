"""`stillpi status`: how the running service is doing.

Failure policy: a service that does not run is one line and exit code 2.
"""

from __future__ import annotations

import argparse
import json

from device.commands.asking import add_service_options, socket_of


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `status` to the program's commands."""
    parser = subparsers.add_parser(
        "status",
        help="how the running service is doing",
        description="Show the running service's camera, queue, last photograph, motion sensor, "
        "disk and temperature.",
    )
    add_service_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask and print. Raises ControlError."""
    from device.service.control import ask
    from device.service.status import for_people

    status = ask(socket_of(arguments), {"do": "status"})["status"]
    if arguments.json:
        print(json.dumps(status, ensure_ascii=False, indent=2))
    else:
        print("\n".join(for_people(status)))
    return 0
