"""The register map and the commands that write it."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge import commands, frames, registers
from firmware_bridge.commands import (
    FACTORY,
    REBOOT,
    SAVE,
    UNLOCK,
    Command,
    decode_command,
    read_registers,
    split_commands,
    write_register,
)
from firmware_bridge.frames import PacketError
from firmware_bridge.registers import (
    FACTORY_SETTINGS,
    Bandwidth,
    Baud,
    Register,
    ReturnContent,
    ReturnRate,
    needed_bits_per_s,
)

steady = settings(deadline=None, derandomize=True)
WANTED = ReturnContent.TIME | ReturnContent.ACC | ReturnContent.GYRO
commands_st = st.builds(Command, st.integers(0, 255), st.integers(0, 65535))


@pytest.mark.parametrize("module", [commands, frames, registers])
def test_examples_in_the_documentation_are_true(module: object) -> None:
    results = doctest.testmod(module)  # type: ignore[arg-type]
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (UNLOCK, "FF AA 69 88 B5"),
        (SAVE, "FF AA 00 00 00"),
        (REBOOT, "FF AA 00 FF 00"),
        (FACTORY, "FF AA 00 01 00"),
        (write_register(Register.RSW, WANTED), "FF AA 02 07 00"),
        (write_register(Register.RRATE, ReturnRate.HZ_200), "FF AA 03 0B 00"),
        (write_register(Register.GYRO_AUTO_CAL_MS, 0xFFFF), "FF AA 63 FF FF"),
        (read_registers(Register.RSW), "FF AA 27 02 00"),
    ],
)
def test_commands_on_the_wire(command: bytes, text: str) -> None:
    assert command == bytes.fromhex(text)


def test_addresses() -> None:
    names = "CALSW RSW RRATE BAUD IICADDR BANDWIDTH ORIENT AXIS6 READADDR YYMM MS AX GX HX ROLL"
    addresses = [Register[name].value for name in names.split()]
    assert addresses == [
        1,
        2,
        3,
        4,
        0x1A,
        0x1F,
        0x23,
        0x24,
        0x27,
        0x30,
        0x33,
        0x34,
        0x37,
        0x3A,
        0x3D,
    ]
    assert [Register.TEMP, Register.Q0, Register.KEY] == [0x40, 0x51, 0x69]
    assert [Register.GYRO_STILL_THRESHOLD, Register.GYRO_AUTO_CAL_MS] == [0x61, 0x63]


def test_settings() -> None:
    assert [rate.hz for rate in ReturnRate] == [1, 2, 5, 10, 20, 50, 100, 200, 0, 0]
    rates = [baud.bits_per_s for baud in Baud]
    assert rates == [9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600]
    assert [band.hz for band in Bandwidth] == [256, 188, 98, 42, 20, 10, 5]
    assert ReturnRate(FACTORY_SETTINGS[Register.RRATE]).hz == 10
    assert Baud(FACTORY_SETTINGS[Register.BAUD]).bits_per_s == 9600
    factory = ReturnContent(FACTORY_SETTINGS[Register.RSW])
    assert factory.packet_types == (0x51, 0x52, 0x53, 0x54)


def test_what_a_cycle_needs_of_the_line() -> None:
    assert WANTED == 0x07
    assert WANTED.packet_types == (0x50, 0x51, 0x52)
    assert WANTED.cycle_bytes == 33
    assert needed_bits_per_s(WANTED, 200) < Baud.BAUD_115200.bits_per_s
    five = WANTED | ReturnContent.ANGLE | ReturnContent.QUATERNION
    assert needed_bits_per_s(five, 200) > 0.9 * Baud.BAUD_115200.bits_per_s


@steady
@given(commands_st)
def test_commands_survive_a_round_trip(command: Command) -> None:
    assert decode_command(command.to_bytes()) == command


@steady
@given(st.lists(commands_st), st.integers(1, 7))
def test_commands_come_out_of_a_stream_in_pieces(sent: list[Command], size: int) -> None:
    stream = b"\x00\xff" + b"\x01".join(command.to_bytes() for command in sent)
    got: list[Command] = []
    rest = b""
    for start in range(0, len(stream), size):
        commands_here, rest = split_commands(rest + stream[start : start + size])
        got += commands_here
    assert got == sent


@pytest.mark.parametrize("data", [b"", b"\xff\xaa\x00\x00", b"\xfe\xaa\x00\x00\x00"])
def test_other_bytes_are_no_command(data: bytes) -> None:
    with pytest.raises(PacketError, match="expected FF AA"):
        decode_command(data)


@pytest.mark.parametrize(("register", "value"), [(256, 0), (0, 65536), (0, -1)])
def test_numbers_that_do_not_fit_are_refused(register: int, value: int) -> None:
    with pytest.raises(PacketError, match="expected a register"):
        write_register(register, value)
