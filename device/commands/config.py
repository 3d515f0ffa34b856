"""`stillpi config check`: everything that is wrong with a configuration, at once."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from device.config import Config

_EXAMPLES = """\
examples:
  stillpi config check              the machine's, /etc/stillpi/stillpi.yaml
  stillpi config check my.yaml      another one

Each mistake is one line: FILE:LINE: KEY: found X, expected Y. Every key is explained in
deploy/config.example.yaml."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `config` to the program's commands."""
    parser = subparsers.add_parser(
        "config",
        help="check a configuration",
        description="What the camera's configuration says, and what is wrong with it.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    check = commands.add_parser(
        "check",
        help="is it right?",
        description="Check a configuration: exit code 0 when the camera can start with it, 2 and"
        " every mistake in it otherwise.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="default: the machine's configuration"
    )
    check.set_defaults(run=run_check)


def run_check(arguments: argparse.Namespace) -> int:
    """Check the file; raises ConfigError with every mistake, InputError where there is none."""
    from device.config import DEFAULT_PATH, default_config, load_config

    config = default_config() if arguments.file is None else load_config(arguments.file)
    print(f"{arguments.file or DEFAULT_PATH}: right: {_summary(config)}")
    return 0


def _summary(config: Config) -> str:
    """What this configuration makes of the machine, on one line."""
    parts = [f"camera {config.camera.kind}", f"motion sensor {config.imu.kind}"]
    for name, section in (("button", config.shutter), ("light", config.led)):
        parts.append(f"{name} on GPIO {section.pin}" if section.kind == "gpio" else f"no {name}")
    push = config.delivery.push
    parts.append(f"push to {push.user}@{push.host}" if push else "no push")
    return ", ".join([*parts, f"state in {config.service.state}"])
