"""`stillpi trigger`: a photograph by the running service, as if the button had been pressed.

Failure policy: the command ends well only when the bundle is synced and in the journal.
"""

from __future__ import annotations

import argparse
import json

from device.commands.asking import add_service_options, socket_of


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `trigger` to the program's commands."""
    parser = subparsers.add_parser(
        "trigger",
        help="let the running service take a photograph",
        description="Let the running service take a photograph. Its bundle is safe on the disk "
        "when this command ends; it is restored and delivered later.",
    )
    add_service_options(parser)
    parser.add_argument(
        "--long", action="store_true", help="a long press: a bracket of three exposures"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask for it and print where it is. Raises ControlError."""
    from device.service.control import ask

    press = "long" if arguments.long else "short"
    answer = ask(socket_of(arguments), {"do": "trigger", "press": press}, timeout_s=90.0)
    if arguments.json:
        print(json.dumps(answer, ensure_ascii=False))
        return 0
    for photo in answer["photographs"]:
        print(photo["bundle"])
        for warning in photo["warnings"]:
            print(f"  warning: {warning['name']}: {warning['detail']}")
    return 0
