"""Run the emulated sensor until standard input closes: `python -m firmware_bridge.emulator`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from firmware_bridge.emulator.motions import hand_shake, still
from firmware_bridge.emulator.physics import EmulatorErrors
from firmware_bridge.emulator.pseudo_terminal import PtyEmulator
from firmware_bridge.emulator.wt901 import Wt901Emulator
from firmware_bridge.provision import ProvisionPlan


def main(argv: list[str] | None = None) -> int:
    """Print the port and serve it until standard input ends or Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m firmware_bridge.emulator",
        description="A WT901 on a pseudo-terminal. Prints the port; ends with its standard input.",
    )
    parser.add_argument("--still", action="store_true", help="lie on a table; else a hand's shake")
    parser.add_argument("--factory", action="store_true", help="as sold: 10 Hz at 9600 baud")
    parser.add_argument("--seed", type=int, default=0, help="of noise and motion")
    parser.add_argument(
        "--batch-ms", type=float, default=1.0, help="USB batches (default 1; plain FTDI 16)"
    )
    parser.add_argument("--link", type=Path, help="make a symbolic link to the port here")
    args = parser.parse_args(argv)
    emulator = Wt901Emulator(
        still if args.still else hand_shake(seed=args.seed),
        seed=args.seed,
        errors=EmulatorErrors(batch_s=args.batch_ms / 1000.0),
        registers=None if args.factory else ProvisionPlan().settings,
    )
    with PtyEmulator(emulator, link=args.link) as emulated:
        print(emulated.port, flush=True)
        try:
            sys.stdin.read()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
