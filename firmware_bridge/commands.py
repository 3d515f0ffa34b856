"""Commands to the WT901, five bytes each: FF AA register low high.

A setting is taken only within ten seconds of UNLOCK; leave 20 to 100 ms between commands.
Rate and baud take effect after SAVE and a restart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from firmware_bridge.frames import PacketError
from firmware_bridge.registers import UNLOCK_KEY, Register, SaveAction

_PREFIX: Final = b"\xff\xaa"
COMMAND_LENGTH: Final = 5


@dataclass(frozen=True, slots=True)
class Command:
    """A value to be written to a register."""

    register: int
    value: int

    def to_bytes(self) -> bytes:
        """The five bytes on the wire. Raises PacketError when a number does not fit."""
        if not 0 <= self.register <= 0xFF or not 0 <= self.value <= 0xFFFF:
            raise PacketError(f"{self!r}: expected a register in 0..255 and a value in 0..65535")
        return _PREFIX + bytes((self.register,)) + self.value.to_bytes(2, "little")


def write_register(register: int, value: int) -> bytes:
    """Encode a write of one register.

    >>> write_register(Register.RRATE, 0x0B).hex(" ")
    'ff aa 03 0b 00'
    """
    return Command(int(register), int(value)).to_bytes()


def read_registers(address: int) -> bytes:
    """Ask for the registers from `address` on: four come back in a 0x5F, eight in a 0x71."""
    return write_register(Register.READADDR, address)


UNLOCK: Final = write_register(Register.KEY, UNLOCK_KEY)
SAVE: Final = write_register(Register.SAVE, SaveAction.SAVE)
REBOOT: Final = write_register(Register.SAVE, SaveAction.REBOOT)
FACTORY: Final = write_register(Register.SAVE, SaveAction.FACTORY)


def decode_command(data: bytes) -> Command:
    """Decode one whole command. Raises PacketError when it is none."""
    if len(data) != COMMAND_LENGTH or data[:2] != _PREFIX:
        raise PacketError(f"found {data.hex(' ') or 'nothing'}, expected FF AA and three bytes")
    return Command(data[2], int.from_bytes(data[3:5], "little"))


def split_commands(data: bytes) -> tuple[list[Command], bytes]:
    """Take every whole command out of a byte stream; noise between them is dropped.

    Returns the commands and the bytes to put in front of what arrives next.
    """
    commands: list[Command] = []
    position = 0
    while True:
        start = data.find(_PREFIX, position)
        if start < 0:
            rest = data[-1:] if data[position:].endswith(_PREFIX[:1]) else b""
            return commands, rest
        if len(data) - start < COMMAND_LENGTH:
            return commands, data[start:]
        commands.append(decode_command(data[start : start + COMMAND_LENGTH]))
        position = start + COMMAND_LENGTH
