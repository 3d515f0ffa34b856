"""`stillpi reprocess`: photographs that were taken before, through the model of today.

The running service does the work, behind new photographs, and delivers again under the same names.

Failure policy: what was asked for is in the journal when this command has said how much it is;
it goes on after a restart, with or without anybody looking. A photograph the new model fails on
keeps its earlier result.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from device.commands.asking import add_service_options, socket_of
from device.commands.restoring import positive_int

_LOOK_S = 1.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `reprocess` to the program's commands."""
    parser = subparsers.add_parser(
        "reprocess",
        help="restore the kept photographs again, through a newer model",
        description="Let the running service restore every photograph whose bundle is kept once "
        "more, except those the model has restored already. It can be interrupted: the service "
        "goes on, also after a restart.",
    )
    add_service_options(parser)
    parser.add_argument(
        "--since", type=positive_int, default=1, metavar="N", help="from this number on"
    )
    parser.add_argument(
        "--model", type=Path, metavar="FOLDER", help="a model bundle (default: the configured one)"
    )
    parser.add_argument(
        "--all", action="store_true", help="those that this very model restored, too"
    )
    parser.add_argument("--no-wait", action="store_true", help="do not wait until it is done")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask for it and show how far it is. Raises ControlError."""
    from device.service.control import ask

    socket = socket_of(arguments)
    model = None if arguments.model is None else str(arguments.model.resolve())
    request = {"do": "reprocess", "since": arguments.since, "model": model, "all": arguments.all}
    count = ask(socket, request)["count"]
    print(f"to be restored again: {count}", flush=True)
    if not arguments.no_wait and count:
        _watch(socket, count)
    return 0


def _watch(socket: Path, count: int) -> None:
    """A bar on standard error until it is done; nothing is shown where that is no terminal."""
    from rich.console import Console
    from rich.progress import Progress

    from device.service.control import ask

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task, left = bar.add_task("restored again", total=count), count
        while left > 0:
            time.sleep(_LOOK_S)
            left = ask(socket, {"do": "status"})["status"]["queue"]["again"]
            bar.update(task, completed=count - left)
