"""`stillpi deliver`: does delivery work, what waits for it, and what is never to be deleted?"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from device.commands.asking import add_service_options, socket_of
from device.errors import StillpiError

_EXAMPLES = """\
examples:
  sudo -u stillpi stillpi deliver test   is the spool writable, does the server take photographs?
  stillpi deliver list                   what waits to be delivered, and why
  stillpi deliver keep 12 13             never delete these, however little room there is
  stillpi deliver keep --not 12          delete it like any other, once it was delivered"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `deliver` to the program's commands."""
    parser = subparsers.add_parser(
        "deliver",
        help="try the delivery of photographs; see what waits; keep some for ever",
        description="Photographs land in the service's spool, from where they are fetched, and, "
        "with a server configured (delivery.push), on that server.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    test = actions.add_parser(
        "test",
        help="deliver a test file and say what is wrong",
        description="Write a file into the spool and onto the configured server, and remove it "
        "again. Run it as the service's user: another one may be let in where that is not.",
    )
    test.add_argument("-c", "--config", type=Path, metavar="FILE", help="configuration to use")
    test.set_defaults(run=run_test)
    waiting = actions.add_parser(
        "list",
        help="what waits to be delivered, and why",
        description="Show every photograph of the running service that is not delivered yet: how "
        "often it was tried, what was wrong the last time, and when it is tried next.",
    )
    add_service_options(waiting)
    waiting.add_argument("--json", action="store_true", help="print one JSON array")
    waiting.set_defaults(run=run_list)
    keep = actions.add_parser(
        "keep",
        help="mark photographs that are never to be deleted",
        description="Mark photographs of the running service that retention must not delete.",
    )
    keep.add_argument("numbers", nargs="+", type=int, metavar="NUMBER", help="12 for IMG_000012")
    keep.add_argument("--not", dest="release", action="store_true", help="take the mark away")
    add_service_options(keep)
    keep.set_defaults(run=run_keep)


def run_test(arguments: argparse.Namespace) -> int:
    """Try the spool, then the server; 2 when anything is wrong. Raises ConfigError."""
    from device.config import default_config, load_config
    from device.service.trial import try_server, try_spool

    config = load_config(arguments.config) if arguments.config else default_config()
    state, server = config.service.state, config.delivery.push
    _warn_about_user(state)
    works = _say(lambda: try_spool(state / "spool"))
    if server is None:
        print("no server is configured (delivery.push): photographs wait in the spool")
    else:
        works &= _say(lambda: try_server(server))
    return 0 if works else 2


def run_list(arguments: argparse.Namespace) -> int:
    """Ask and print. Raises ControlError."""
    from device.service.control import ask

    waiting = ask(socket_of(arguments), {"do": "deliveries"})["deliveries"]
    if arguments.json:
        print(json.dumps(waiting, ensure_ascii=False, indent=2))
    else:
        print("\n".join(map(_line, waiting)) or "nothing waits to be delivered")
    return 0


def _line(job: Mapping[str, Any]) -> str:
    """One photograph that waits."""
    place = "the spool" if job["kind"] == "spool" else "the server"
    line = f"{job['name']} to {place}"
    if not job["attempts"]:
        return f"{line}: in its turn"
    tried = "tried once" if job["attempts"] == 1 else f"tried {job['attempts']} times"
    why = job["last_error"].removeprefix(f"{job['name']}: ")
    return f"{line}: {tried}, again in {job['next_try_s']:.0f} s: {why}"


def run_keep(arguments: argparse.Namespace) -> int:
    """Ask the service. Raises ControlError."""
    from device.service.control import ask

    keep = not arguments.release
    for number in arguments.numbers:
        ask(socket_of(arguments), {"do": "keep", "number": number, "keep": keep})
        print(f"IMG_{number:06d}: {'kept' if keep else 'deleted when its time comes'}")
    return 0


def _say(trial: Callable[[], str]) -> bool:
    from device.commands.restoring import one_line

    try:
        print(trial(), flush=True)
    except (StillpiError, OSError) as error:
        print(f"stillpi: {one_line(error)}", file=sys.stderr)
        return False
    return True


def _warn_about_user(state: Path) -> None:
    """The service's user owns its state; what works for another says little."""
    owner = state.stat().st_uid if state.is_dir() else os.geteuid()
    if owner != os.geteuid():
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = f"'#{owner}'"
        print(
            f"stillpi: warning: {state} belongs to {name}, this may work where the service does"
            f" not: sudo -u {name} stillpi deliver test",
            file=sys.stderr,
        )
