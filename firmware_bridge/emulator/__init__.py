"""An emulator of the WT901 that behaves like the sensor, its traps included.

    with PtyEmulator(Wt901Emulator(hand_shake())) as emulated:
        ...  # open emulated.port with anything that reads a serial port

`python -m firmware_bridge.emulator` does the same from the command line.
"""

from firmware_bridge.emulator.fake_smbus import FakeSmBus
from firmware_bridge.emulator.motions import hand_shake, still
from firmware_bridge.emulator.physics import GROUP_DELAY_S, EmulatorErrors, MotionFunction
from firmware_bridge.emulator.pseudo_terminal import PtyEmulator
from firmware_bridge.emulator.wt901 import Wt901Emulator

__all__ = [
    "GROUP_DELAY_S",
    "EmulatorErrors",
    "FakeSmBus",
    "MotionFunction",
    "PtyEmulator",
    "Wt901Emulator",
    "hand_shake",
    "still",
]
