"""`stillpi run`: the service in the foreground, as systemd starts it.

Failure policy: a wrong configuration, a state folder that cannot be used and a service that runs
already are one line and exit code 2. Otherwise see `device.service.daemon`.
"""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from device.errors import InputError

if TYPE_CHECKING:
    from device.config import Config

_EXAMPLES = """\
examples:
  stillpi run                        with /etc/stillpi/stillpi.yaml
  stillpi run --simulate camera/     simulated camera and sensor, everything in camera/
  stillpi trigger --state camera/    take a photograph with that"""

SOCKET = "control.sock"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `run` to the program's commands."""
    parser = subparsers.add_parser(
        "run",
        help="run the service: button, camera, restoration, delivery",
        description="Run the service: photographs at the press of a button (or by `stillpi "
        "trigger`), each kept as a bundle, restored, and put where it is fetched from.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="configuration to use")
    parser.add_argument(
        "--simulate",
        type=Path,
        metavar="FOLDER",
        help="use the simulated camera and sensor, and keep everything in this folder",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run until stopped; 0 when stopped by a signal, 1 when a part failed, 2 for bad input."""
    from device.service.daemon import Daemon
    from device.service.logs import set_up_logging
    from device.service.surroundings import folders_of, surroundings

    config = configuration(arguments)
    set_up_logging()
    daemon = Daemon(config, folders_of(config), surroundings(config))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: daemon.stop())
    return daemon.run()


def configuration(arguments: argparse.Namespace) -> Config:
    """The configuration that -c or --simulate names. Raises InputError."""
    from device.config import default_config, load_config

    if arguments.simulate and arguments.config:
        raise InputError("--simulate", "options", "--config as well", "one of the two")
    if arguments.simulate:
        return simulated_service(arguments.simulate)
    return load_config(arguments.config) if arguments.config else default_config()


def simulated_service(folder: Path) -> Config:
    """The twin and the emulator, with everything in one folder."""
    from device.config import OutputConfig, simulated_config
    from device.config_service import ServiceConfig

    folder = folder.resolve()
    return simulated_config().model_copy(
        update={
            "service": ServiceConfig(state=folder, socket=folder / SOCKET),
            "output": OutputConfig(folder=folder / "photos"),
        }
    )
