"""What the commands that talk to the running service share: finding its socket."""

from __future__ import annotations

import argparse
from pathlib import Path

from device.commands.run import SOCKET
from device.errors import InputError


def add_service_options(parser: argparse.ArgumentParser) -> None:
    """--config and --state."""
    parser.add_argument(
        "-c", "--config", type=Path, metavar="FILE", help="the service's configuration"
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FOLDER",
        help="of a simulated service instead (stillpi run --simulate FOLDER)",
    )


def socket_of(arguments: argparse.Namespace) -> Path:
    """The socket of the service that is meant.

    Without options that of the configuration of this machine, or where that is not there or not
    for this user to read, the usual one. Raises InputError.
    """
    from device.config import DEFAULT_PATH, load_config
    from device.config_service import ServiceConfig

    if arguments.state and arguments.config:
        raise InputError("--state", "options", "--config as well", "one of the two")
    if arguments.state:
        return Path(arguments.state).resolve() / SOCKET
    if arguments.config:
        return load_config(arguments.config).service.socket
    try:
        DEFAULT_PATH.read_bytes()
    except OSError:
        return ServiceConfig().socket
    return load_config(DEFAULT_PATH).service.socket
